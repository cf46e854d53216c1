"""All four call shapes carry the token, on asyncio and from threads, however the call brings its metadata."""

import asyncio
from typing import Any

import grpc
import grpc.aio
import pytest

from authsvc_client import (
    AuthClient,
    ClientKey,
    PasswordLogin,
    SyncAuthClient,
    SyncPasswordLogin,
    at_least_revision,
    client_interceptors,
    open_channel,
    open_sync_channel,
    sync_client_interceptors,
)
from tests.client.signing_in.called import Called, call_all, call_all_sync, method
from tests.parts.service import ISSUER, PASSWORD, Service


async def test_every_shape_carries_the_token_on_asyncio(service: Service, called: Called) -> None:
    """One list of interceptors serves all four shapes of grpc.aio."""
    await service.add_user()
    async with AuthClient(service.address, issuer=ISSUER, client_key=service.keys["web"]) as auth:
        source = PasswordLogin(auth, "alice", PASSWORD)
        interceptors = client_interceptors(source, target=called.target)

        async with grpc.aio.insecure_channel(called.target, interceptors=interceptors) as channel:
            await call_all(channel)

    assert called.bearers == [await source.obtain()] * 4
    assert called.bearers[0].count(".") == 2


async def test_every_shape_carries_the_token_from_threads(service: Service, called: Called) -> None:
    """The same for grpc with threads."""
    await service.add_user()
    with SyncAuthClient(service.address, issuer=ISSUER, client_key=service.keys["web"]) as auth:
        source = SyncPasswordLogin(auth, "alice", PASSWORD)

        def use() -> None:
            interceptors = sync_client_interceptors(source, target=called.target)
            with grpc.insecure_channel(called.target) as channel:
                call_all_sync(grpc.intercept_channel(channel, *interceptors))

        await asyncio.to_thread(use)

    assert called.bearers == [source.obtain()] * 4
    assert called.bearers[0].count(".") == 2


@pytest.mark.parametrize("given", [None, (), (("a", "b"),), [("a", "b")], grpc.aio.Metadata(("a", "b"))])
async def test_metadata_comes_in_any_form(called: Called, given: Any) -> None:
    """What the call brings along arrives beside the token, whether None, tuple, list or Metadata."""
    async with open_channel(called.target, ClientKey("key")) as channel:
        await method(channel)(b"ask", metadata=given)

    assert called.bearers == ["key"]
    assert called.seen[0].get("a") == ("b" if given else None)


async def test_a_call_that_says_who_calls_is_left_alone(called: Called) -> None:
    """No second `authorization` is added to a call that brings its own."""
    own = (("authorization", "Bearer own"),)
    async with open_channel(called.target, ClientKey("key")) as channel:
        await method(channel)(b"ask", metadata=own)

    def use() -> None:
        with open_sync_channel(called.target, ClientKey("key")) as channel:
            method(channel)(b"ask", metadata=own)

    await asyncio.to_thread(use)
    assert called.bearers == ["own", "own"]


async def test_calls_ask_for_the_revision_of_their_context(called: Called) -> None:
    """What was revoked before is asked for inside the block, and nowhere else."""
    async with open_channel(called.target, ClientKey("key")) as channel:
        ask = method(channel)
        with at_least_revision(7), at_least_revision(3):
            await ask(b"ask")
        await ask(b"ask")

    assert [each.get("authsvc-min-revision") for each in called.seen] == ["7", None]


async def test_a_future_carries_the_token(called: Called) -> None:
    """A call made with `.future()` carries the token and does not wait for its answer."""

    def use() -> bytes:
        with open_sync_channel(called.target, ClientKey("key")) as channel:
            answer: bytes = method(channel).future(b"ask").result(timeout=5)
            return answer

    answer = await asyncio.to_thread(use)

    assert answer == b"answer"
    assert called.bearers == ["key"]


async def test_a_cancelled_call_is_cancelled_at_the_server(called: Called) -> None:
    """Cancelling a call whose interceptor waits for its end does not leave the call running."""
    reached, ended = asyncio.Event(), asyncio.Event()

    async def linger(context: Any) -> None:
        reached.set()
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            ended.set()
            raise

    called._note = linger  # type: ignore[method-assign]
    async with open_channel(called.target, ClientKey("key")) as channel:
        call = method(channel)(b"ask")
        await reached.wait()

        call.cancel()

        await asyncio.wait_for(ended.wait(), 5)
