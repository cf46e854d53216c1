"""What happens when a service refuses the token: one more try where that helps, and never more."""

import asyncio
from collections.abc import Callable

import grpc
import pytest

from authsvc_client import (
    AuthClient,
    PasswordLogin,
    SessionEnded,
    SessionToken,
    SyncAuthClient,
    SyncPasswordLogin,
    open_channel,
    open_sync_channel,
    reason_of,
)
from tests.client.signing_in.between import Between
from tests.client.signing_in.called import Called, method
from tests.parts.service import ISSUER, PASSWORD, Service


def _first_only(reason: str) -> Callable[[str], str]:
    """Refuses the first bearer it sees, for as long as it is used."""
    first: list[str] = []

    def refuses(bearer: str) -> str:
        first.append(bearer)
        return reason if bearer == first[0] else ""

    return refuses


@pytest.mark.parametrize("shape", ["UnaryUnary", "UnaryStream"])
async def test_one_request_is_sent_once_more_with_a_new_token(
    service: Service, between: Between, called: Called, shape: str
) -> None:
    """A call of one request that is refused as expired succeeds with the successor."""
    await service.add_user()
    called.refuses = _first_only("ACCESS_TOKEN_EXPIRED")
    async with AuthClient(between.address, issuer=ISSUER, client_key=service.keys["web"]) as auth:
        source = PasswordLogin(auth, "alice", PASSWORD)
        async with open_channel(called.target, source) as channel:
            if shape == "UnaryUnary":
                assert await method(channel, shape)(b"ask") == b"answer"
            else:
                assert [each async for each in method(channel, shape)(b"ask")] == [b"answer"] * 3

    assert len(set(called.bearers)) == len(called.bearers) == 2
    assert between.counts["Refresh"] == 1


@pytest.mark.parametrize("shape", ["UnaryUnary", "UnaryStream"])
async def test_one_request_is_sent_once_more_from_threads(
    service: Service, between: Between, called: Called, shape: str
) -> None:
    """The same for threads."""
    await service.add_user()
    called.refuses = _first_only("ACCESS_TOKEN_EXPIRED")

    def use() -> list[bytes]:
        with SyncAuthClient(between.address, issuer=ISSUER, client_key=service.keys["web"]) as auth:
            source = SyncPasswordLogin(auth, "alice", PASSWORD)
            with open_sync_channel(called.target, source) as channel:
                answer = method(channel, shape)(b"ask")
                return [answer] if shape == "UnaryUnary" else list(answer)

    answers = await asyncio.to_thread(use)

    assert set(answers) == {b"answer"}
    assert len(set(called.bearers)) == len(called.bearers) == 2
    assert between.counts["Refresh"] == 1


async def test_a_service_that_refuses_everything_costs_one_refresh(
    service: Service, between: Between, called: Called
) -> None:
    """A service whose clock is far ahead makes calls fail, and not the client ask for tokens without end."""
    await service.add_user()
    called.refuses = lambda bearer: "ACCESS_TOKEN_EXPIRED"
    async with AuthClient(between.address, issuer=ISSUER, client_key=service.keys["web"]) as auth:
        source = PasswordLogin(auth, "alice", PASSWORD)
        async with open_channel(called.target, source) as channel:
            for _ in range(5):
                with pytest.raises(grpc.aio.AioRpcError) as refused:
                    await method(channel)(b"ask")
                assert reason_of(refused.value) == "ACCESS_TOKEN_EXPIRED"

    assert between.counts["Refresh"] == 1
    assert len(called.seen) == 6


@pytest.mark.parametrize("reason", ["ACCESS_TOKEN_INVALID", "SCOPE_INSUFFICIENT", "CALLER_UNAUTHENTICATED"])
async def test_other_refusals_are_the_callers(
    service: Service, between: Between, called: Called, reason: str
) -> None:
    """What a new token would not change is not tried again."""
    await service.add_user()
    called.refuses = lambda bearer: reason
    async with AuthClient(between.address, issuer=ISSUER, client_key=service.keys["web"]) as auth:
        source = PasswordLogin(auth, "alice", PASSWORD)
        async with open_channel(called.target, source) as channel:
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await method(channel)(b"ask")

    assert reason_of(refused.value) == reason
    assert len(called.seen) == 1
    assert between.counts["Refresh"] == 0


async def test_a_stream_that_is_refused_makes_the_next_call_renew(
    service: Service, between: Between, called: Called
) -> None:
    """Requests that are streamed cannot be had twice; but the token is not used again."""
    await service.add_user()
    called.refuses = _first_only("ACCESS_TOKEN_EXPIRED")
    async with AuthClient(between.address, issuer=ISSUER, client_key=service.keys["web"]) as auth:
        source = PasswordLogin(auth, "alice", PASSWORD)
        async with open_channel(called.target, source) as channel:
            with pytest.raises(grpc.aio.AioRpcError):
                await method(channel, "StreamUnary")(iter([b"ask"]))
            async with asyncio.timeout(5):
                while source.ready() is not None:  # noqa: ASYNC110  nothing tells
                    await asyncio.sleep(0.005)

            await method(channel, "StreamUnary")(iter([b"ask"]))

    assert between.counts["Refresh"] == 1


async def test_a_session_token_that_is_not_active_is_not_sent_again(called: Called) -> None:
    """A dead session token is the same named exception, on the first call from its answer, then without a call."""
    called.refuses = lambda bearer: "SESSION_NOT_ACTIVE"
    source = SessionToken("ats_token")
    async with open_channel(called.target, source) as channel:
        for _ in range(3):
            with pytest.raises(SessionEnded):
                await method(channel)(b"ask")

    def use() -> None:
        with open_sync_channel(called.target, source) as channel, pytest.raises(SessionEnded):
            method(channel)(b"ask")

    await asyncio.to_thread(use)
    assert len(called.seen) == 1


@pytest.mark.parametrize("token", ["", "a token", "token\n", "tok\u00e9n", "t" * 4097])
def test_what_cannot_be_a_token_is_refused_without_repeating_it(token: str) -> None:
    """A token with a line feed from a file, say, fails where it is given and not somewhere in the transport."""
    with pytest.raises(ValueError, match="the token is empty") as refused:
        SessionToken(token)

    assert not token or token not in str(refused.value)
