"""What a flood costs: random tokens cost no store anything, and a busy session hardly anything."""

import asyncio
import base64
import os
import random
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
import redis.asyncio

from authsvc.core.cached_sessions import CachedForm
from authsvc.core.clock import MINUTE
from authsvc.core.errors import SessionNotActive
from authsvc.core.tokens import Kind, TokenMint, TokenNotOurs
from authsvc.core.validate import SessionValidator
from authsvc.outside import monotonic_clock
from authsvc.rpc.showing import SessionShowing
from authsvc.v1 import auth_service_pb2 as pb
from tests.parts.counting import Statements, commands, settled
from tests.parts.service import Service, bearer, outcome

FLOOD = int(os.environ.get("TEST_FLOOD", "1000000"))
BODY_BYTES = {Kind.SESSION: 42, Kind.CLIENT_KEY: 42, Kind.REFRESH: 63}
CHANCE = random.Random(20)


def forged(kind: Kind, key_id: int) -> str:
    """A random token of the right form, that names the very secret in use."""
    body = bytes([key_id]) + CHANCE.randbytes(BODY_BYTES[kind] - 1)
    return kind.prefix + base64.urlsafe_b64encode(body).decode()


def many(kind: Kind, key_id: int, count: int) -> Iterator[str]:
    """Random tokens, made quickly: one body of random bytes, cut anew at each place."""
    chance = CHANCE.randbytes(count + BODY_BYTES[kind])
    for place in range(count):
        body = bytes([key_id]) + chance[place : place + BODY_BYTES[kind] - 1]
        yield kind.prefix + base64.urlsafe_b64encode(body).decode()


@pytest.fixture
async def key_id(service: Service) -> int:
    """The id of the secret in use, which travels in every token."""
    return service.app.settings.secrets.current_id


async def test_a_million_random_tokens(
    service: Service, key_id: int, inside: "redis.asyncio.Redis", monkeypatch: pytest.MonkeyPatch
) -> None:
    """A million random tokens of the right form are refused without one Valkey command or SQL statement."""
    validator, mint = validator_of(service), TokenMint(service.app.settings.secrets, os.urandom)
    await settled(service)
    statements, before = Statements(service, monkeypatch), await commands(inside)
    refused = 0

    for token in many(Kind.SESSION, key_id, FLOOD // 4):
        with suppress(SessionNotActive):
            await validator.validate(token)
            continue
        refused += 1
    for kind in Kind:
        for token in many(kind, key_id, FLOOD // 4):
            with suppress(TokenNotOurs):
                mint.hash_of(kind, token)
                continue
            refused += 1

    assert refused == FLOOD
    assert statements.reads + statements.writes == []
    assert await commands(inside) - before == {}


def validator_of(service: Service) -> SessionValidator:
    """A validator over the instance's own stores and view."""
    app = service.app
    mint = TokenMint(app.settings.secrets, os.urandom)
    return SessionValidator(
        mint,
        CachedForm(SessionShowing()),
        app.cache.sessions,
        app.stores.sessions,
        app._view,
        app._last_seen,
        app._late_uses,
        service.clock,
        monotonic_clock,
        lambda: True,
    )


async def test_random_tokens_over_the_wire(
    service: Service, key_id: int, inside: "redis.asyncio.Redis", monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor do they cost one through any call that takes a token, nor as `authorization`."""
    await settled(service)
    statements, before = Statements(service, monkeypatch), await commands(inside)

    for _ in range(100):
        session, refresh, client_key = (
            forged(kind, key_id) for kind in (Kind.SESSION, Kind.REFRESH, Kind.CLIENT_KEY)
        )
        assert await everywhere(service, session, refresh, client_key) == REFUSED

    assert statements.reads + statements.writes == []
    assert await commands(inside) - before == {}


REFUSED = [
    "SESSION_NOT_ACTIVE", "SESSION_NOT_ACTIVE", "OK", "OK", "REFRESH_TOKEN_NOT_ACTIVE", "OK", "OK", "OK", "OK",
    "CALLER_UNAUTHENTICATED", "CALLER_UNAUTHENTICATED", "CALLER_UNAUTHENTICATED", "ACCESS_TOKEN_INVALID",
]  # fmt: skip


async def everywhere(service: Service, session: str, refresh: str, client_key: str) -> list[str]:
    """Present three forged tokens in every place that takes one."""
    auth, gateway = service.auth, service.by("gateway")
    batch = pb.BatchValidateSessionsRequest(session_tokens=[session] * 10)
    calls: list[Any] = [
        service.validate(session),
        auth.ExchangeSession(pb.ExchangeSessionRequest(session_token=session), metadata=gateway),
        auth.BatchValidateSessions(batch, metadata=gateway),
        service.introspect(session),
        service.refresh(refresh),
        service.introspect(refresh),
        *(service.revoke(token=token) for token in (session, refresh, client_key)),
        *(
            auth.ListSessions(pb.ListSessionsRequest(), metadata=bearer(token))
            for token in (session, refresh, client_key, "eyJhbGciOiJFUzI1NiJ9.e30." + "A" * 86)
        ),
    ]
    return list(await asyncio.gather(*map(outcome, calls)))


async def test_busy_session(
    service: Service, inside: "redis.asyncio.Redis", monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thousand validations of one session within a minute write to Valkey at most twice, and to SQL at most once."""
    login = await service.login()
    service.clock.stop()
    await settled(service)
    statements, before = Statements(service, monkeypatch), await commands(inside)

    for _ in range(1_000):
        await service.validate(login.session_token)
        service.clock.move(MINUTE // 1_000)
    await service.app._last_seen.flush()

    counted = await commands(inside) - before
    assert counted.pop("evalsha") == counted.pop("get") == 1_000
    assert counted.pop("set", 0) <= 2
    assert counted == {}
    assert statements.reads == []
    assert len(statements.writes) <= 1


async def test_busy_session_over_hours(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQL hears of a busy session once in a quarter of its idle time, and no oftener."""
    login = await service.login()
    service.clock.stop()
    statements = Statements(service, monkeypatch)

    for _ in range(4 * 60):
        service.clock.move(MINUTE)
        await service.validate(login.session_token)
        await service.app._last_seen.flush()

    quarters = 4 * 60 * MINUTE // (service.app.settings.session_idle // 4)
    assert quarters - 8 <= len(statements.writes) <= quarters
    assert statements.reads == []


async def test_one_read_for_all_who_ask(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the cache is cold, all who ask for one session at the same time share one read of SQL."""
    login = await service.login()
    statements = Statements(service, monkeypatch)
    await service.app.stores.log.bump_epoch()
    await service.app._tail.poll()
    statements.clear()

    await asyncio.gather(*(service.validate(login.session_token) for _ in range(100)))

    assert len(statements.reads) < 10
