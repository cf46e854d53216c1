"""Following the log of revocations through Watch."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc.aio
import pytest

from authsvc.core.clock import MINUTE
from authsvc.core.contracts import StoreUnavailable
from authsvc.stores.embedded import EmbeddedValkey
from authsvc.v1 import admin_service_pb2 as admin_pb
from authsvc.v1 import auth_service_pb2 as pb
from authsvc.v1 import resources_pb2 as resources
from tests.parts.service import Service, reason_of, refusal, retry_seconds_of, run_service

PATIENCE = 5.0


@asynccontextmanager
async def watching(service: Service, from_revision: int = 0, batches: bool = True) -> AsyncIterator[Any]:
    """Follow an instance's log."""
    request = pb.WatchRequest(from_revision=from_revision, batches=batches)
    stream = service.auth.Watch(request, metadata=service.by("gateway"))
    yield stream
    stream.cancel()


async def next_of(stream: Any, *kinds: str) -> Any:
    """The next message of one of these kinds."""
    async with asyncio.timeout(PATIENCE):
        while (message := await stream.read()).WhichOneof("event") not in kinds:
            pass
    return message


async def revocations(stream: Any, count: int) -> list[Any]:
    """The next revocations, so many of them."""
    found: list[Any] = []
    while len(found) < count:
        message = await next_of(stream, "revocation", "revocation_batch")
        found += message.revocation_batch.revocations or [message.revocation]
    return found


async def revoke_some(service: Service, count: int) -> list[str]:
    """Log in and revoke; return the ids of the sessions in the order of their revisions."""
    logins = [await service.login() for _ in range(count)]
    revoked = await asyncio.gather(*(service.revoke(token=login.session_token) for login in logins))
    ended = {each.revision: login.session.id for each, login in zip(revoked, logins, strict=True)}
    return [ended[revision] for revision in sorted(ended)]


async def test_begins_with_a_snapshot(service: Service) -> None:
    """A new follower first hears all that is in force, up to a revision, and every key."""
    ended = await revoke_some(service, 3)
    await service.app._tail.reach(3, 5_000)  # its revision follows the entries, which count at once

    async with watching(service) as stream:
        first = (await stream.read()).snapshot

    assert (first.revision, first.partial) == (3, False)
    assert {entry.session_id for entry in first.revocations} == set(ended)
    assert [key.key_id for key in first.keys]


async def test_then_everything_in_order(service_on_each: Service) -> None:
    """After that it hears each revocation once, in the order of their revisions, without a gap."""
    async with watching(service_on_each) as stream:
        await next_of(stream, "snapshot")
        ended = await revoke_some(service_on_each, 20)
        heard = await revocations(stream, 20)

    assert [entry.revision for entry in heard] == list(range(1, 21))
    assert [entry.session_id for entry in heard] == ended
    assert all(entry.HasField("expire_time") for entry in heard)


async def test_heartbeats(service: Service) -> None:
    """Each second it hears that nothing is missing up to a revision."""
    async with watching(service) as stream:
        await next_of(stream, "snapshot")
        await revoke_some(service, 1)
        await revocations(stream, 1)
        beats = [(await next_of(stream, "heartbeat")).heartbeat for _ in range(2)]

    assert [beat.revision for beat in beats] == [1, 1]
    assert beats[0].server_time.ToMilliseconds() < beats[1].server_time.ToMilliseconds()


async def test_silent_while_not_fresh(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """An instance that cannot read the log does not say that all is well."""
    async with watching(service) as stream:
        await next_of(stream, "heartbeat")
        cut_off(service, monkeypatch)

        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1.2):
                await next_of(stream, "heartbeat")


def cut_off(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the instance not read the log any more, since long ago."""

    async def unavailable() -> None:
        raise StoreUnavailable

    monkeypatch.setattr(service.app.stores.log, "position", unavailable)
    monkeypatch.setattr(service.app._tail, "_monotonic", lambda: 10**15)


async def test_resumes(service: Service) -> None:
    """Who comes back with a revision hears what came after it, and no snapshot."""
    await revoke_some(service, 4)

    async with watching(service, from_revision=2) as stream:
        first = await next_of(stream, "snapshot", "revocation", "revocation_batch")
        heard = first.revocation_batch.revocations or [first.revocation]
        heard = [*heard, *await revocations(stream, 2 - len(heard))]

    assert [entry.revision for entry in heard] == [3, 4]


async def test_resumes_where_it_left(service: Service) -> None:
    """Who comes back with the newest revision hears what comes next, as if it had never gone."""
    await revoke_some(service, 2)

    async with watching(service, from_revision=2) as stream:
        await next_of(stream, "heartbeat", "key_set")
        await revoke_some(service, 1)
        heard = await revocations(stream, 1)

    assert [entry.revision for entry in heard] == [3]


async def test_begins_anew_when_the_ring_moved_on(service: Service) -> None:
    """Who comes back with a revision that is no longer held gets a snapshot: never a gap."""
    await revoke_some(service, 3)
    await service.app._tail.poll()
    service.app._feed.restart(3)

    async with watching(service, from_revision=1) as stream:
        first = await next_of(stream, "snapshot", "revocation", "revocation_batch")

    assert first.snapshot.revision == 3


async def test_slow_follower_begins_anew(service: Service) -> None:
    """A follower that fell out of the ring while it was connected gets a snapshot, too."""
    async with watching(service) as stream:
        await next_of(stream, "snapshot")
        await revoke_some(service, 2)
        await service.app._tail.poll()
        service.app._feed.restart(2)

        snapshot = (await next_of(stream, "snapshot")).snapshot

    assert snapshot.revision == 2


async def test_revision_from_the_future(service: Service) -> None:
    """A revision that this instance never reaches gets a snapshot: the database may be an older backup."""
    async with watching(service, from_revision=1_000) as stream:
        first = await next_of(stream, "snapshot", "revocation")

    assert first.snapshot.revision == 0


async def test_expired_entries_are_forgotten(service: Service) -> None:
    """What forbids nothing any more is not in a snapshot."""
    await revoke_some(service, 2)
    await service.app._tail.poll()
    service.clock.move(service.app.settings.remember_absolute + MINUTE)
    service.app._view.forget_expired(service.clock())
    service.app._feed.restart(2)

    async with watching(service) as stream:
        snapshot = (await next_of(stream, "snapshot")).snapshot

    assert (snapshot.revision, len(snapshot.revocations)) == (2, 0)


async def test_snapshot_survives_a_restart(sqlite_url: str, valkey: EmbeddedValkey) -> None:
    """An instance that has just started knows what was revoked before."""
    async with run_service(sqlite_url, valkey.url) as before:
        ended = await revoke_some(before, 2)

    async with run_service(sqlite_url, valkey.url) as after, watching(after) as stream:
        snapshot = (await next_of(stream, "snapshot")).snapshot

    assert snapshot.revision == 2
    assert {entry.session_id for entry in snapshot.revocations} == set(ended)


@pytest.mark.parametrize("cache", ["cache", "no cache"])
async def test_heard_at_the_other_instance(database_url: str, valkey: EmbeddedValkey, cache: str) -> None:
    """What one instance revokes, a follower of the other hears, with or without the hint."""
    cache_url = valkey.url if cache == "cache" else "none"
    async with (
        run_service(database_url, cache_url) as one,
        run_service(database_url, cache_url) as other,
        watching(other) as stream,
    ):
        await next_of(stream, "snapshot")
        ended = await revoke_some(one, 3)
        heard = await revocations(stream, 3)

    assert [entry.session_id for entry in heard] == ended


async def test_many_followers(service: Service) -> None:
    """Any number of followers hear the same."""

    async def follow() -> list[int]:
        async with watching(service) as stream:
            await next_of(stream, "snapshot")
            ready.release()
            return [entry.revision for entry in await revocations(stream, 3)]

    ready = asyncio.Semaphore(0)
    followers = [asyncio.create_task(follow()) for _ in range(20)]
    for _ in followers:
        await ready.acquire()

    await revoke_some(service, 3)

    assert await asyncio.gather(*followers) == [[1, 2, 3]] * 20


async def test_ends_with_the_instance(sqlite_url: str) -> None:
    """Followers do not hold up an instance that stops; they are told to go on elsewhere, at once."""
    clock = asyncio.get_running_loop().time
    async with run_service(sqlite_url, "none") as service:
        stream = service.auth.Watch(pb.WatchRequest(), metadata=service.by("gateway"))
        await stream.read()
        began = clock()
        stopping = asyncio.create_task(service.app.stop())

        async with asyncio.timeout(PATIENCE):
            ended = await refusal(_to_its_end(stream))
        await stopping

    assert clock() - began < 4
    assert (ended.code(), reason_of(ended)) == (grpc.StatusCode.UNAVAILABLE, "STOPPING")
    assert retry_seconds_of(ended) == 0


async def _to_its_end(stream: Any) -> None:
    while await stream.read() is not grpc.aio.EOF:
        pass


@pytest.mark.parametrize("batches", [False, True])
async def test_batches_only_for_those_who_ask(service: Service, batches: bool) -> None:
    """Revocations that wait together come one by one, or in a batch if the request asks for batches."""
    ended = await revoke_some(service, 5)

    async with watching(service, from_revision=1, batches=batches) as stream:
        first = await next_of(stream, "revocation", "revocation_batch")
        rest = [] if batches else await revocations(stream, 3)

    heard = [*first.revocation_batch.revocations] if batches else [first.revocation, *rest]
    assert first.WhichOneof("event") == ("revocation_batch" if batches else "revocation")
    assert [entry.session_id for entry in heard] == ended[1:]


async def test_ends_with_the_key(service: Service) -> None:
    """A stream does not outlive the client that it was opened by. Guard: `may_go_on` in `Watchers.follow`."""
    created = await service.admin.CreateClient(
        admin_pb.CreateClientRequest(client_id="follower", permissions=[resources.PERMISSION_INTROSPECT]),
        metadata=service.by("root"),
    )
    stream = service.auth.Watch(
        pb.WatchRequest(), metadata=(("authorization", f"Bearer {created.client_key}"),)
    )
    await next_of(stream, "heartbeat")

    await service.admin.RevokeClient(
        admin_pb.RevokeClientRequest(client_id="follower"), metadata=service.by("root")
    )

    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await next_of(stream, "never")
    assert reason_of(refused.value) == "CALLER_UNAUTHENTICATED"
