"""Open streams end when their token ends or their session is revoked, with the reason why."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import Any

import grpc
import grpc.aio
import pytest

from authsvc.v1 import auth_service_pb2 as pb
from authsvc_client import AccessToken, Verifier, Watcher
from authsvc_client.guarding import judging
from authsvc_client.verifying import Revocation, Subject
from tests.client.guarding.guarded import (
    ENDING_AT_ONCE,
    KINDS,
    Guarded,
    by,
    run_counting,
    run_guarded,
    session_token,
    token,
    until,
)
from tests.client.strict_minting import ISSUER as STRICT_ISSUER
from tests.client.strict_minting import KEYS
from tests.parts.service import ISSUER, Service, bearer, reason_of

STREAMS = ("Stream", "Collect", "Chat")
without_naps = pytest.mark.usefixtures("_no_naps")


@pytest.fixture
def _no_naps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Streams look at nothing by themselves for a minute: what ends one before must have been heard."""
    monkeypatch.setattr(judging, "NAP_MS", 60_000)


@pytest.fixture(params=ENDING_AT_ONCE)
async def guarded(request: pytest.FixtureRequest) -> AsyncIterator[Guarded]:
    """A guarded server of each kind that can end streams at once."""
    async with run_guarded(request.param) as running:
        yield running


async def opened(guarded: Guarded, shape: str, metadata: Iterable[tuple[str, str]]) -> Any:
    """A call that is open and waits: for ever, if nobody ends it."""

    async def requests() -> AsyncIterator[bytes]:
        yield b"a"
        await asyncio.Event().wait()

    before = guarded.streams
    match shape:
        case "Collect":
            call = guarded.collect(requests(), metadata)
        case "Chat":
            call = guarded.chat(requests(), metadata)
        case _:
            call = guarded.stream(shape, metadata)
    if shape != "Collect":
        assert await call.read() != grpc.aio.EOF
    await until(lambda: guarded.streams > before)
    return call


async def reason_at_end(call: Any) -> tuple[grpc.StatusCode, str]:
    """How a call ends."""
    read = call if isinstance(call, grpc.aio.StreamUnaryCall) else call.read()
    async with asyncio.timeout(10):
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await read
    return error.value.code(), reason_of(error.value)


@pytest.mark.parametrize("shape", STREAMS)
async def test_a_stream_ends_with_its_token(guarded: Guarded, shape: str) -> None:
    """At the token's expiry the caller is told so, though the handler has nothing to say."""
    call = await opened(guarded, shape, by(clock=guarded.clock, life_s=60))

    guarded.clock.ahead_ms += 61_000
    end = await reason_at_end(call)

    assert end == (grpc.StatusCode.UNAUTHENTICATED, "ACCESS_TOKEN_EXPIRED")
    await until(lambda: guarded.streams == 0)


@without_naps
@pytest.mark.parametrize("shape", STREAMS)
async def test_a_stream_ends_with_its_session(guarded: Guarded, shape: str) -> None:
    """Once the revocation is heard of, exactly the streams of that session end."""
    call, other = await opened(guarded, shape, by("ann")), await opened(guarded, shape, by("ben"))

    guarded.revoke("session-of-ann")
    end = await reason_at_end(call)

    assert end == (grpc.StatusCode.UNAUTHENTICATED, "ACCESS_TOKEN_REVOKED")
    await until(lambda: guarded.streams == 1)
    assert not other.done()
    other.cancel()


@without_naps
@pytest.mark.parametrize("subject", [Subject.USER, Subject.KEY, Subject.EVERYONE])
async def test_a_stream_ends_with_its_user_key_and_everyone(guarded: Guarded, subject: Subject) -> None:
    """Revocations of more than a session end all streams they cover."""
    key_id = guarded.verifier.verify(token("ann")).key_id
    subject_id = {Subject.USER: "ann", Subject.KEY: key_id, Subject.EVERYONE: ""}[subject]
    call, now = await opened(guarded, "Stream", by("ann")), guarded.clock()

    guarded.revocations.apply([Revocation(subject, subject_id, now + 3_600_000, now + 1000)])
    end = await reason_at_end(call)

    assert end[1] == "ACCESS_TOKEN_REVOKED"


@without_naps
async def test_a_snapshot_ends_streams_too(guarded: Guarded) -> None:
    """What was revoked while nothing could be heard ends streams as soon as a snapshot tells."""
    call, now = await opened(guarded, "Stream", by("ann")), guarded.clock()

    entry = Revocation(Subject.SESSION, "session-of-ann", now + 3_600_000)
    guarded.revocations.apply([entry], tell=False)
    guarded.revocations.reach(9, snapshot=True)
    end = await reason_at_end(call)

    assert end[1] == "ACCESS_TOKEN_REVOKED"


@pytest.mark.parametrize("kind", KINDS)
async def test_streams_may_be_left_to_finish(kind: str) -> None:
    """With on_expiry="finish" an open stream goes on, and the next call is refused all the same."""
    async with run_guarded(kind, on_expiry="finish") as guarded:
        mine = by("ann")
        call = guarded.stream("Stream", mine)
        await call.read()

        guarded.revoke("session-of-ann")
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await guarded.stream("Stream", mine).read()

        assert reason_of(error.value) == "ACCESS_TOKEN_REVOKED"
        assert not call.done()
        call.cancel()


@pytest.mark.parametrize("ends", [True, False])
async def test_a_chat_of_plain_functions_ends_at_its_next_message(ends: bool) -> None:
    """A plain function on grpc.aio cannot be interrupted; nothing passes after the end, and all before it."""
    async with run_guarded("plain") as guarded:
        call = guarded.chat(None, by("ann"))
        await call.write(b"a")
        first = await call.read()

        guarded.revoke("session-of-ann" if ends else "another")
        await call.write(b"b")

        assert first == b"ann"
        if ends:
            assert (await reason_at_end(call))[1] == "ACCESS_TOKEN_REVOKED"
        else:
            assert await call.read() == b"ann"
            await call.done_writing()
            assert await call.read() == grpc.aio.EOF


async def test_the_handler_is_told(guarded: Guarded) -> None:
    """A handler whose stream was ended can clean up, as it can when its caller goes away."""
    call = await opened(guarded, "Stream", by("ann"))

    guarded.revoke("session-of-ann")
    await reason_at_end(call)

    await until(lambda: bool(guarded.ended))


async def test_a_caller_that_goes_leaves_nothing_behind(guarded: Guarded) -> None:
    """A stream that its caller cancels is followed no more."""
    call = await opened(guarded, "Stream", by("ann"))

    call.cancel()

    await until(lambda: guarded.streams == 0 and bool(guarded.ended))


async def test_a_stream_that_ends_by_itself_ends_well(guarded: Guarded) -> None:
    """Following changes nothing for streams that finish in time: every message arrives, and OK."""
    answers = [answer async for answer in guarded.chat([b"x"] * 500, by("ann"))]
    total = await guarded.collect([b"x"] * 500, by("ann"))

    assert answers == [b"ann"] * 500
    assert total == b"ann"
    await until(lambda: guarded.streams == 0)


@without_naps
async def test_streams_in_a_storm_of_revocations(guarded: Guarded) -> None:
    """However opening and revoking interleave, no stream of a revoked session stays open."""
    users = [f"user-{number}" for number in range(60)]
    calls = [guarded.stream("Stream", by(user)) for user in users]
    for user in users:
        guarded.revoke(f"session-of-{user}")
        await asyncio.sleep(0)

    ends = await asyncio.gather(*(_end_of(call) for call in calls))

    assert set(ends) == {"ACCESS_TOKEN_REVOKED"}
    await until(lambda: guarded.streams == 0)


async def _end_of(call: Any) -> str:
    try:
        async with asyncio.timeout(10):
            async for _message in call:
                pass
    except grpc.aio.AioRpcError as error:
        return reason_of(error)
    return "none"


@pytest.mark.parametrize("kind", ENDING_AT_ONCE)
async def test_a_stream_of_a_session_token_ends_with_its_session(kind: str) -> None:
    """A stream that a session token opened ends when its session is heard to be revoked."""
    async with run_counting() as (_, address), run_guarded(kind, authsvc=address) as guarded:
        call = await opened(guarded, "Stream", bearer(session_token(7)))

        guarded.revoke("session-of-user-7")
        end = await reason_at_end(call)

    assert end == (grpc.StatusCode.UNAUTHENTICATED, "SESSION_NOT_ACTIVE")


@pytest.mark.parametrize("kind", ENDING_AT_ONCE)
async def test_an_idle_session_is_asked_about_before_its_stream_ends(kind: str) -> None:
    """At the idle deadline authsvc is asked: a session used elsewhere goes on, one that is over ends its stream."""
    async with run_counting() as (authsvc, address), run_guarded(kind, authsvc=address) as guarded:
        call = await opened(guarded, "Stream", bearer(session_token(7)))

        guarded.clock.ahead_ms += authsvc.idle_ms + 1000
        authsvc.idle_ms *= 3
        await until(lambda: len(authsvc.batches) > 1)
        goes_on = not call.done()
        authsvc.ended.add(session_token(7))
        guarded.clock.ahead_ms += authsvc.idle_ms
        end = await reason_at_end(call)

    assert goes_on
    assert end == (grpc.StatusCode.UNAUTHENTICATED, "SESSION_NOT_ACTIVE")


@pytest.mark.parametrize("kind", ENDING_AT_ONCE)
async def test_a_strict_stream_is_asked_about_when_nothing_is_heard(kind: str) -> None:
    """A strict stream goes on past the staleness bound only with authsvc's word for it."""
    async with (
        run_counting() as (authsvc, address),
        run_guarded(kind, authsvc=address, stale_after_ms=300) as guarded,
    ):
        text = token("ann")
        call = await opened(guarded, "StrictStream", bearer(text))
        await until(lambda: len(authsvc.introspected) > 1)
        goes_on = not call.done()

        authsvc.ended.add(text)
        end = await reason_at_end(call)

    assert goes_on
    assert end == (grpc.StatusCode.UNAUTHENTICATED, "ACCESS_TOKEN_REVOKED")


@pytest.mark.parametrize("kind", ENDING_AT_ONCE)
async def test_a_strict_stream_nobody_can_vouch_for_ends(kind: str) -> None:
    """Past the bound, without anybody to ask, a strict stream ends as not known, not as refused."""
    async with run_guarded(kind, stale_after_ms=1_000) as guarded:
        call = await opened(guarded, "StrictStream", by("ann"))

        end = await reason_at_end(call)

    assert end == (grpc.StatusCode.UNAVAILABLE, "VIEW_TOO_OLD")


@pytest.mark.parametrize("kind", ENDING_AT_ONCE)
async def test_a_revocation_at_authsvc_ends_the_stream(kind: str, service: Service) -> None:
    """From `Revoke` at a real authsvc, over its watch, to the end of the open stream."""
    verifier = Verifier(ISSUER, "orders", clock=service.clock)
    async with Watcher(service.address, service.keys["gateway"], verifier) as watcher:
        await watcher.ready()
        async with run_guarded(kind, verifier=verifier) as guarded:
            login = await service.login(audiences=["orders"])
            call = await opened(guarded, "Stream", bearer(login.tokens.access_token))

            await service.auth.Revoke(pb.RevokeRequest(token=login.session_token), metadata=service.by("web"))
            end = await reason_at_end(call)

    assert end == (grpc.StatusCode.UNAUTHENTICATED, "ACCESS_TOKEN_REVOKED")


class Noting(Verifier):
    """A verifier that notes how often it was asked."""

    asked = 0

    def verify(self, token: str) -> AccessToken:
        self.asked += 1
        return super().verify(token)


@pytest.mark.parametrize("kind", ENDING_AT_ONCE)
async def test_a_revocation_between_the_judging_and_the_opening_counts(kind: str) -> None:
    """A call is judged before its request is read; what is revoked until then does not get as far as the handler."""
    verifier = Noting(STRICT_ISSUER, "orders", keys=KEYS)
    async with run_guarded(kind, verifier=verifier) as guarded:
        stream: Any = guarded.channel.stream_stream("/tests.Guarded/Stream")
        call = stream(metadata=by("ann"), timeout=10)
        await until(lambda: verifier.asked == 1)

        guarded.revoke("session-of-ann")
        await call.write(b"")
        end = await reason_at_end(call)

    assert end == (grpc.StatusCode.UNAUTHENTICATED, "ACCESS_TOKEN_REVOKED")
    assert guarded.begun == []
