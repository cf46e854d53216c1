"""Owns what a development deployment starts out with: a demo user, and clients for programs and for local callers.

And knowing them again where they must not be.
"""

import secrets
from dataclasses import dataclass, field

from authsvc.core.model import AuditEvent, Client, ClientKey, Permission, User
from authsvc.core.passwords import PasswordHashing
from authsvc.core.sealing import Vault
from authsvc.core.stored_hashes import VAULT_PURPOSE, StoredHashes
from authsvc.core.tokens import Kind, TokenMint, TokenNotOurs
from authsvc.core.usernames import username_key
from authsvc.outside import Outside
from authsvc.settings import Settings
from authsvc.stores.sql import SqlStores

USERNAME = "demo"
# By these they are known for what they are, whatever database they get into.
_USER_ID = "00000000-0000-7000-8000-000000000001"
_DISPLAY_NAME = "made by authsvc dev"
SCOPES = ("orders.read", "orders.write")
AUDIENCES = ("orders", "billing")
_HASH_WAIT_MS = 60_000
_CLIENTS = {
    "admin": frozenset({Permission.ADMIN}),
    "web": frozenset({Permission.LOGIN, Permission.INTROSPECT}),
    "local": frozenset({Permission.LOGIN, Permission.INTROSPECT}),
}


@dataclass(frozen=True, slots=True)
class Demo:
    """A user who can log in, and the keys of the clients `admin` and `web`."""

    username: str
    password: str = field(repr=False)
    admin_key: str = field(repr=False)
    client_key: str = field(repr=False)


async def prepare(stores: SqlStores, settings: Settings, outside: Outside, known: Demo | None) -> Demo:
    """Return the demo data, adding what the database lacks. What is `known` from a run before stays good."""
    mint = TokenMint(settings.secrets, outside.random_bytes)
    keys = {}
    for client_id, permissions in _CLIENTS.items():
        old = {"admin": known.admin_key, "web": known.client_key}.get(client_id) if known else None
        keys[client_id] = await _client(stores, mint, outside, client_id, permissions, old)
    password = await _user(stores, settings, outside, known.password if known else None)
    return Demo(USERNAME, password, keys["admin"], keys["web"])


async def demo_accounts(stores: SqlStores) -> list[str]:
    """Return the names of demo accounts that somebody could get in by. Raises StoreUnavailable."""
    user = await stores.users.get(_USER_ID)
    clients, _ = await stores.clients.list_all()
    found = [
        client for client in clients if client.display_name == _DISPLAY_NAME and client.revoked_at is None
    ]
    users = [f"user {user.username}"] if user is not None and user.disabled_at is None else []
    return [*users, *(f"client {client.id}" for client in found)]


async def _client(
    stores: SqlStores,
    mint: TokenMint,
    outside: Outside,
    client_id: str,
    permissions: frozenset[Permission],
    old_key: str | None,
) -> str:
    """Make sure of the client; return a key of it: the old one if it still holds, else a new one."""
    _, keys = await stores.clients.list_all()
    if old_key and _hash(mint, old_key) in {key.key_hash for key in keys}:
        return old_key
    now, fresh = outside.clock(), mint.client_key()
    key = ClientKey(fresh.token_hash, client_id, now)
    client = Client(client_id, _DISPLAY_NAME, permissions, AUDIENCES, (), now)
    if not await stores.clients.create(client, key, _event("client.created", now, client_id=client_id)):
        await stores.clients.add_key(key, now, _event("client.key_rotated", now, client_id=client_id))
    return fresh.text


async def _user(stores: SqlStores, settings: Settings, outside: Outside, known: str | None) -> str:
    """Make sure of the user; return the password."""
    key, now = username_key(USERNAME), outside.clock()
    found = await stores.users.get_secret(key)
    if found is not None and known is not None:
        return known
    password = known or "-".join(secrets.token_hex(3) for _ in range(4))
    user_id = found.user.id if found else _USER_ID
    password_hash = await _password_hash(password, user_id, settings, outside)
    if found is not None:
        await stores.users.rehash(user_id, found.password_hash, password_hash)
        return password
    user = User(user_id, USERNAME, SCOPES, now, None, now)
    await stores.users.create(user, key, password_hash, _event("user.created", now, user_id=user.id))
    return password


async def _password_hash(password: str, user_id: str, settings: Settings, outside: Outside) -> str:
    vault = Vault(settings.secrets, VAULT_PURPOSE, outside.random_bytes)
    hashing = PasswordHashing(StoredHashes(vault), slots=1)
    try:
        return await hashing.hash(password, user_id, _HASH_WAIT_MS)
    finally:
        await hashing.close()


def _hash(mint: TokenMint, key: str) -> bytes | None:
    try:
        return mint.hash_of(Kind.CLIENT_KEY, key)
    except TokenNotOurs:
        return None


def _event(event: str, now: int, user_id: str = "", client_id: str = "") -> AuditEvent:
    return AuditEvent(event, now, actor="authsvc dev", user_id=user_id, client_id=client_id)
