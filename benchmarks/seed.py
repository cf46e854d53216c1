"""Owns what a database holds before the measuring: clients, users and sessions, cached as logins leave them.

Written through the stores in one transaction: ten thousand real logins would take minutes of argon2.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass

import argon2

from authsvc.core.cached_sessions import CachedForm
from authsvc.core.clock import DAY, HOUR, MINUTE
from authsvc.core.contracts import NewTokens
from authsvc.core.ids import new_id
from authsvc.core.model import AuditEvent, Client, ClientKey, Device, Permission, Session, User
from authsvc.core.sealing import Vault
from authsvc.core.stored_hashes import VAULT_PURPOSE, StoredHashes
from authsvc.core.tokens import Minted, TokenMint
from authsvc.core.usernames import username_key
from authsvc.outside import wall_clock
from authsvc.rpc.showing import SessionShowing
from authsvc.settings import Settings
from authsvc.stores.migrations import upgrade_to_head
from authsvc.stores.sql import SqlStores, open_stores
from authsvc.stores.sql.compiled import insert_whole
from authsvc.stores.sql.rows import session_values
from authsvc.stores.sql.schema import sessions
from authsvc.stores.valkey import open_cache

USERS = 256
SESSIONS = 10_000
PASSWORD = "correct horse battery staple"
AUDIENCES = ("orders", "billing")
SCOPES = ("orders.read", "orders.write")


@dataclass(frozen=True, slots=True)
class Seeded:
    """What callers know: keys of clients by their one permission, usernames, (session token, session id), (refresh
    token, session id); (access token, session id), once a server has minted some."""

    client_keys: dict[str, str]
    usernames: list[str]
    session_tokens: list[tuple[str, str]]
    refresh_tokens: list[tuple[str, str]]
    access_tokens: Sequence[tuple[str, str]] = ()


async def seed(settings: Settings) -> Seeded:
    """Bring an empty database to the newest schema and fill it, and the cache."""
    database_url = settings.database_url.get_secret_value()
    await upgrade_to_head(database_url)
    stores, mint = open_stores(database_url), TokenMint(settings.secrets, os.urandom)
    keys = {permission.value: await _add_client(stores, mint, permission) for permission in Permission}
    hashes = StoredHashes(Vault(settings.secrets, VAULT_PURPOSE, os.urandom))
    password_hash = argon2.PasswordHasher(memory_cost=19_456, time_cost=2, parallelism=1).hash(PASSWORD)
    users = [
        await _add_user(stores, f"user-{number}@example.com", password_hash, hashes)
        for number in range(USERS)
    ]
    made = [new_session(users[number % USERS]) for number in range(SESSIONS)]
    tokens = [(mint.session_token(), mint.refresh_token(session.id, 0)) for session in made]
    await _add_sessions(stores, made, tokens)
    await _fill_cache(stores, settings, made, tokens)
    await stores.close()
    return Seeded(
        keys,
        [user.username for user in users],
        [(token.text, session.id) for session, (token, _) in zip(made, tokens, strict=True)],
        [(token.text, session.id) for session, (_, token) in zip(made, tokens, strict=True)],
    )


async def _add_client(stores: SqlStores, mint: TokenMint, permission: Permission) -> str:
    key, now = mint.client_key(), wall_clock()
    client = Client(permission.value, "", frozenset({permission}), AUDIENCES, (), now)
    event = AuditEvent("client.created", now)
    assert await stores.clients.create(client, ClientKey(key.token_hash, client.id, now), event)
    return key.text


async def _add_user(stores: SqlStores, username: str, password_hash: str, hashes: StoredHashes) -> User:
    """One hash serves every user, sealed for each: making hundreds would take seconds."""
    now = wall_clock()
    user = User(new_id(now, os.urandom), username, SCOPES, now, None, now)
    assert await stores.users.create(
        user,
        username_key(username),
        hashes.seal(password_hash, user.id),
        AuditEvent("user.created", now),
    )
    return user


def new_session(user: User) -> Session:
    """A session as a login of now begins it."""
    now = wall_clock()
    return Session(
        id=new_id(now, os.urandom),
        user_id=user.id,
        username=user.username,
        client_id=Permission.LOGIN.value,
        scopes=SCOPES,
        audiences=AUDIENCES,
        amr=("pwd",),
        created_at=now,
        seen_at=now,
        session_expires_at=now + 12 * HOUR,
        session_idle_ms=30 * MINUTE,
        refresh_expires_at=now + 90 * DAY,
        refresh_idle_ms=30 * DAY,
        refresh_idle_expires_at=now + 30 * DAY,
        device=Device(
            "192.0.2.17", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", ""
        ),
    )


async def _add_sessions(
    stores: SqlStores, made: Sequence[Session], tokens: Sequence[tuple[Minted, Minted]]
) -> None:
    values = [
        session_values(session, NewTokens(token.token_hash, refresh.token_hash))
        for session, (token, refresh) in zip(made, tokens, strict=True)
    ]
    async with stores.database.write() as transaction:
        await transaction.run_many(insert_whole(sessions), values)


async def _fill_cache(
    stores: SqlStores, settings: Settings, made: Sequence[Session], tokens: Sequence[tuple[Minted, Minted]]
) -> None:
    cache = await open_cache(settings.cache_url.get_secret_value(), (await stores.log.position()).epoch)
    form = CachedForm(SessionShowing())
    for session, (token, _) in zip(made, tokens, strict=True):
        cached = form.write(session, session.seen_at, session.seen_at)
        await cache.sessions.add(token.token_hash, cached, session.seen_at)
    await cache.close()
