"""When sessions end by themselves. Time stands still but for what the test lets pass; with and without a cache."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from authsvc.core.clock import DAY, HOUR, MINUTE, SECOND
from authsvc.stores.embedded import EmbeddedValkey
from authsvc.v1 import auth_service_pb2 as pb
from authsvc.v1.resources_pb2 import CREDENTIAL_SESSION
from tests.parts.service import Service, bearer, outcome, run_service

IDLE, ABSOLUTE = 30 * MINUTE, 12 * HOUR


@pytest.fixture(params=["cache", "no cache"])
async def service(
    request: pytest.FixtureRequest, sqlite_url: str, valkey: EmbeddedValkey
) -> AsyncIterator[Service]:
    """An instance with and without a cache, whose clock only the test moves."""
    async with run_service(sqlite_url, valkey.url if request.param == "cache" else "none") as running:
        running.clock.stop()
        yield running


async def said(service: Service, login: Any) -> str:
    """What a validation says; what is to be written behind is written before this returns."""
    found = await outcome(service.validate(login.session_token))
    await service.app._last_seen.flush()
    return found


@pytest.mark.parametrize(("late_ms", "expected"), [(-SECOND, "OK"), (SECOND, "SESSION_NOT_ACTIVE")])
async def test_idle(service: Service, late_ms: int, expected: str) -> None:
    """A session that nobody validates ends after its idle time."""
    login = await service.login()
    service.clock.move(IDLE + late_ms)

    assert await said(service, login) == expected


@pytest.mark.parametrize(("late_ms", "expected"), [(-SECOND, "OK"), (SECOND, "SESSION_NOT_ACTIVE")])
async def test_validation_moves_idle(service: Service, late_ms: int, expected: str) -> None:
    """A validation moves the idle deadline, by a whole idle time from then on."""
    login = await service.login()
    service.clock.move(IDLE - SECOND)
    assert await said(service, login) == "OK"
    service.clock.move(IDLE + late_ms)

    assert await said(service, login) == expected


@pytest.mark.parametrize(("late_ms", "expected"), [(-SECOND, "OK"), (SECOND, "SESSION_NOT_ACTIVE")])
async def test_absolute(service: Service, late_ms: int, expected: str) -> None:
    """However busy it is, a session ends at its absolute deadline, and no idle deadline is ever told beyond that."""
    login = await service.login()
    for _ in range(ABSOLUTE // (20 * MINUTE) - 1):
        service.clock.move(20 * MINUTE)
        session = (await service.validate(login.session_token)).session
        await service.app._last_seen.flush()
        assert session.session_expire_time == login.session.session_expire_time
        assert (
            session.session_idle_expire_time.ToMilliseconds() <= session.session_expire_time.ToMilliseconds()
        )
    service.clock.move(20 * MINUTE + late_ms)

    assert await said(service, login) == expected


async def test_ended_stays_ended(service: Service) -> None:
    """Asking about a session that has run out does not bring it back, however often and by whichever call."""
    login = await service.login()
    service.clock.move(IDLE + SECOND)

    found = [await said(service, login) for _ in range(3)]
    introspected = await service.introspect(login.session_token)
    called = await outcome(
        service.auth.ListSessions(pb.ListSessionsRequest(), metadata=bearer(login.session_token))
    )

    assert found == ["SESSION_NOT_ACTIVE"] * 3
    assert introspected == pb.IntrospectResponse()
    assert called == "CALLER_UNAUTHENTICATED"
    assert await said(service, login) == "SESSION_NOT_ACTIVE"


async def test_clock_set_back(service: Service) -> None:
    """A clock set back brings no revoked session back."""
    login = await service.login()
    await service.revoke(token=login.session_token)
    service.clock.move(-HOUR)

    assert await said(service, login) == "SESSION_NOT_ACTIVE"


async def test_calls_by_session_token_count(service: Service) -> None:
    """A user's own calls with a session token keep it from running idle, as validations do."""
    login = await service.login()
    for _ in range(4):
        service.clock.move(20 * MINUTE)
        call = service.auth.ListSessions(pb.ListSessionsRequest(), metadata=bearer(login.session_token))
        assert await outcome(call) == "OK"
        await service.app._last_seen.flush()

    assert await said(service, login) == "OK"


async def test_remember(service: Service) -> None:
    """Who asked to stay logged in has the long profile."""
    login = await service.login(remember=True)
    service.clock.move(13 * DAY)

    assert await said(service, login) == "OK"
    assert (
        login.session.session_expire_time.ToMilliseconds() - login.session.create_time.ToMilliseconds()
        == 90 * DAY
    )


async def test_session_token_and_pair_end_each_by_itself(service: Service) -> None:
    """A session token that has run out takes nothing from the refresh token of the same login."""
    login = await service.login()
    service.clock.move(ABSOLUTE + SECOND)

    assert await said(service, login) == "SESSION_NOT_ACTIVE"
    assert await outcome(service.refresh(login.tokens.refresh_token)) == "OK"


async def test_access_token_ends_with_its_session(service: Service) -> None:
    """No access token is good beyond the last deadline of its session."""
    login = await service.login(credentials=[CREDENTIAL_SESSION])
    for _ in range(ABSOLUTE // (20 * MINUTE) - 1):
        service.clock.move(20 * MINUTE)
        assert await said(service, login) == "OK"
    service.clock.move(18 * MINUTE)
    request = pb.ExchangeSessionRequest(session_token=login.session_token)

    exchanged = await service.auth.ExchangeSession(request, metadata=service.by("gateway"))

    assert exchanged.access_expire_time.seconds == login.session.session_expire_time.seconds
