"""Whoever reads the database or the cache gets nothing that opens anything: no token, no secret of one, no password."""

import asyncio
import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import redis.asyncio
from sqlalchemy import select

from authsvc.stores.embedded import EmbeddedValkey
from authsvc.stores.sql.schema import metadata, users
from authsvc.v1 import admin_service_pb2
from authsvc.v1 import auth_service_pb2 as pb
from authsvc.v1.resources_pb2 import PERMISSION_INTROSPECT
from tests.parts.service import PASSWORD, Service, outcome

NEW_PASSWORD = "another rather long pass phrase"
WRONG_PASSWORD = "quite the wrong pass phrase"


class Collected:
    """Every token that a busy run was given."""

    def __init__(self) -> None:
        self.opaque: list[str] = []
        self.jwts: list[str] = []

    def pair(self, tokens: Any) -> None:
        """Remember both tokens of a pair."""
        self.jwts.append(tokens.access_token)
        self.opaque.append(tokens.refresh_token)

    def needles(self) -> Iterator[bytes]:
        """What must be nowhere: each token, and each part of one that is secret, as text and as bytes."""
        for token in self.opaque:
            body = base64.urlsafe_b64decode(token[4:])
            secret = body[1:33] if token[:4] in ("ats_", "atc_") else body[22:54]
            yield from (token.encode(), token[4:].encode(), body, secret, secret.hex().encode())
            yield base64.b64encode(secret).rstrip(b"=")
        for jwt in self.jwts:
            _, payload, signature = jwt.split(".")
            yield from (jwt.encode(), payload.encode(), signature.encode())
            yield base64.urlsafe_b64decode(signature + "==")
        for password in (PASSWORD, NEW_PASSWORD, WRONG_PASSWORD):
            yield password.encode()


async def a_busy_run(service: Service) -> Collected:
    """Everything that the service does, with the tokens that came of it."""
    got = Collected()
    for name in ("alice", "bob"):
        login = await service.login(name)
        got.opaque.append(login.session_token)
        got.pair(login.tokens)
        await service.validate(login.session_token)
        refreshed = await service.refresh(login.tokens.refresh_token)
        replayed = await service.refresh(login.tokens.refresh_token)
        exchange = pb.ExchangeSessionRequest(session_token=login.session_token)
        exchanged = await service.auth.ExchangeSession(exchange, metadata=service.by("gateway"))
        got.jwts.append(exchanged.access_token)
        got.pair(refreshed.tokens)
        got.pair(replayed.tokens)
        await asyncio.gather(*(service.introspect(token) for token in (*got.opaque, *got.jwts)))
    await _fail(service)
    got.opaque += await _administer(service)
    login = await service.login("carol", remember=True)
    got.opaque.append(login.session_token)
    got.pair(login.tokens)
    await service.revoke(token=login.tokens.refresh_token)
    return got


async def _fail(service: Service) -> None:
    for name in ("alice", "nobody"):
        request = pb.LoginRequest(username=name, password=WRONG_PASSWORD)
        assert await outcome(service.auth.Login(request, metadata=service.by("web"))) == "INVALID_CREDENTIALS"


async def _administer(service: Service) -> list[str]:
    root = service.by("root")
    created = admin_service_pb2.CreateClientRequest(client_id="shop", permissions=[PERMISSION_INTROSPECT])
    first = await service.admin.CreateClient(created, metadata=root)
    rotated = admin_service_pb2.RotateClientKeyRequest(client_id="shop", overlap_seconds=60)
    second = await service.admin.RotateClientKey(rotated, metadata=root)
    changed = admin_service_pb2.SetPasswordRequest(user_id=service.user_ids["bob"], password=NEW_PASSWORD)
    await service.admin.SetPassword(changed, metadata=root)
    disabled = admin_service_pb2.DisableUserRequest(user_id=service.user_ids["bob"])
    await service.admin.DisableUser(disabled, metadata=root)
    return [first.client_key, second.client_key, *service.keys.values()]


async def dump_of_database(service: Service) -> bytes:
    """Every value of every row of every table."""
    values: list[object] = []
    for table in metadata.sorted_tables:
        for row in await service.app.stores.database.read(select(table)):
            values += row
    return _joined(values)


async def dump_of_cache(valkey: EmbeddedValkey) -> bytes:
    """Every key and every value."""
    async with redis.asyncio.Redis.from_url(valkey.url) as inside:
        keys = [key async for key in inside.scan_iter()]
        return _joined([*keys, *(await inside.mget(keys))])


def _files(directory: Path) -> bytes:
    return b"".join(file.read_bytes() for file in directory.glob("authsvc.db*"))


def _joined(values: list[object]) -> bytes:
    return b"\0".join(value if isinstance(value, bytes) else str(value).encode() for value in values)


async def test_database_and_cache_hold_nothing_usable(
    service_on_each: Service, valkey: EmbeddedValkey
) -> None:
    """After a busy run neither database nor cache holds any token, any token's secret, or any password."""
    got = await a_busy_run(service_on_each)

    database, cache = await dump_of_database(service_on_each), await dump_of_cache(valkey)

    assert database.count(b"$argon2id$") == 3
    assert b"as:{" in cache
    found = {needle for needle in got.needles() if needle in database or needle in cache}
    assert found == set()


async def test_sqlite_file_holds_nothing_usable(service: Service, tmp_path: Path) -> None:
    """Nor does SQLite's file, with all that is left in free pages and in the journal."""
    got = await a_busy_run(service)

    files = _files(tmp_path)

    assert files.count(b"$argon2id$") >= 3
    assert {needle for needle in got.needles() if needle in files} == set()


async def test_password_hashes_are_salted(service: Service) -> None:
    """Two users with one password have different hashes."""
    await service.add_user("alice")
    await service.add_user("bob")

    rows = await service.app.stores.database.read(select(users.c.password_hash))

    assert len({row[0] for row in rows}) == 2
