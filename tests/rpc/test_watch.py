"""What followers of Watch are sent: all of it, once encoded, in turns that leave room for others."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from itertools import pairwise
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest

from authsvc.core.errors import RevisionNotReached, Stopping
from authsvc.core.feed import Beat, Feed, FeedEvent
from authsvc.core.model import Revocation, Subject
from authsvc.core.signing_keys import KeyRing, Keys
from authsvc.core.view import View
from authsvc.rpc import rounds, snapshots
from authsvc.rpc.watch import Watchers
from authsvc.v1 import auth_service_pb2 as pb
from tests.parts.service import Service

NOW = 1_790_000_000_000
LATER = NOW + 3_600_000


@dataclass
class FakeTail:
    """A log that is up to date, unless told otherwise, at `revision`."""

    view: View
    is_up_to_date: bool = True

    def beat(self) -> Beat | None:
        return Beat(self.view.revision, NOW) if self.is_up_to_date else None

    async def reach(self, revision: int, wait_ms: int) -> None:
        if self.view.revision < revision:
            raise RevisionNotReached


@dataclass
class Followed:
    """An instance's view, feed and followers, without the rest of it."""

    feed: Feed = field(default_factory=Feed)
    view: View = field(default_factory=View)

    def __post_init__(self) -> None:
        self.tail = FakeTail(self.view)
        services: Any = SimpleNamespace(
            feed=self.feed, view=self.view, tail=self.tail, keys=Keys(KeyRing(None, ()))
        )
        self.watchers = Watchers(services)

    def revoke(self, count: int = 1) -> None:
        """Let the next entries of the log arrive, in one go."""
        first = self.view.revision + 1
        entries = [
            Revocation(revision, Subject.SESSION, str(uuid4()), None, LATER)
            for revision in range(first, first + count)
        ]
        self.view.advance(entries)
        self.feed.publish([FeedEvent(entry.revision, entry) for entry in entries])

    def beat(self) -> None:
        """Let a second pass."""
        self.feed.publish_beat(Beat(self.view.revision, NOW))

    def follow(self, from_revision: int = 0) -> AsyncIterator[bytes]:
        """One more follower."""
        return self.watchers.follow(from_revision, lambda: True)


async def take(follower: AsyncIterator[bytes], count: int) -> list[pb.WatchResponse]:
    """The next messages."""
    async with asyncio.timeout(10):
        return [pb.WatchResponse.FromString(await anext(follower)) for _ in range(count)]


def kinds(messages: list[pb.WatchResponse]) -> list[str | None]:
    return [message.WhichOneof("event") for message in messages]


async def test_first_a_snapshot_then_a_heartbeat() -> None:
    """A new follower has everything, and knows that it does, without waiting for the next second."""
    followed = Followed()
    followed.revoke(3)

    messages = await take(followed.follow(), 2)

    assert kinds(messages) == ["snapshot", "heartbeat"]
    assert len(messages[0].snapshot.revocations) == 3
    assert [messages[0].snapshot.revision, messages[1].heartbeat.revision] == [3, 3]


async def test_resumed_without_a_snapshot() -> None:
    """Who comes back gets what is missing, and the keys, which may have changed without it."""
    followed = Followed()
    followed.revoke(5)

    messages = await take(followed.follow(from_revision=3), 3)

    assert kinds(messages) == ["key_set", "revocation_batch", "heartbeat"]
    assert [entry.revision for entry in messages[1].revocation_batch.revocations] == [4, 5]


async def test_key_change_while_away_is_not_missed(service: Service) -> None:
    """A follower that resumes at the newest revision still gets the key set of now."""
    login = await service.login()
    await service.auth.Revoke(pb.RevokeRequest(session_id=login.session.id), metadata=service.by("root"))
    call = service.auth.Watch(pb.WatchRequest(from_revision=1), metadata=service.by("gateway"))

    first = await call.read()
    call.cancel()

    assert isinstance(first, pb.WatchResponse)
    assert first.key_set.keys


async def test_ahead_of_the_log() -> None:
    """Who claims to have seen what this log never held gets a snapshot: the log was restored, or lags too far."""
    followed = Followed()
    followed.revoke(2)

    messages = await take(followed.follow(from_revision=9), 1)

    assert kinds(messages) == ["snapshot"]


async def test_what_came_together_goes_out_together() -> None:
    """Many entries at once cost each follower one message; a single one stays a plain revocation."""
    followed = Followed()
    follower = followed.follow()
    await take(follower, 2)

    followed.revoke(1)
    one = await take(follower, 1)
    followed.revoke(40)
    many = await take(follower, 1)

    assert kinds(one + many) == ["revocation", "revocation_batch"]
    assert len(many[0].revocation_batch.revocations) == 40


async def test_one_encoding_for_all() -> None:
    """Followers in step are sent the same bytes, not copies: snapshot, entries and heartbeats."""
    followed = Followed()
    followed.revoke(3)
    followers = [followed.follow() for _ in range(3)]

    snapshots_sent = [await anext(follower) for follower in followers]
    await asyncio.gather(*(take(follower, 1) for follower in followers))
    followed.revoke(2)
    batches_sent = await asyncio.gather(*(anext(follower) for follower in followers))
    followed.beat()
    beats_sent = await asyncio.gather(*(anext(follower) for follower in followers))

    for sent in (snapshots_sent, batches_sent, beats_sent):
        assert len({id(each) for each in sent}) == 1


async def test_slow_follower_starts_again() -> None:
    """A follower whose place has left the ring gets a snapshot; nothing is kept for it meanwhile."""
    followed = Followed(Feed(size=10))
    follower = followed.follow()
    await take(follower, 2)

    followed.revoke(25)
    messages = await take(follower, 1)

    assert kinds(messages) == ["snapshot"]
    assert len(messages[0].snapshot.revocations) == 25
    assert len(followed.feed._events) == 10


async def test_only_the_newest_heartbeat_is_sent() -> None:
    """A follower that was busy for a while is told how things are, not how they were each second."""
    followed = Followed()
    follower = followed.follow()
    await take(follower, 2)

    for _ in range(5):
        followed.beat()
    followed.revoke()
    messages = await take(follower, 2)
    waiting = asyncio.ensure_future(anext(follower))
    await asyncio.sleep(0.02)

    assert kinds(messages) == ["revocation", "heartbeat"]
    assert not waiting.done()
    waiting.cancel()


async def test_no_heartbeat_while_the_log_cannot_be_read() -> None:
    """An instance that does not know says nothing, to new followers and to those who were busy."""
    followed = Followed()
    busy = followed.follow()
    await take(busy, 2)

    followed.beat()
    followed.tail.is_up_to_date = False
    followed.revoke()
    told = await take(busy, 1) + await take(followed.follow(), 1)
    waiting = asyncio.ensure_future(anext(busy))
    await asyncio.sleep(0.02)

    assert kinds(told) == ["revocation", "snapshot"]
    assert not waiting.done()
    waiting.cancel()


async def test_heartbeat_never_names_what_was_not_sent() -> None:
    """Entries that came while a follower was being served go out before the heartbeat that counts them."""
    followed = Followed()
    follower = followed.follow()
    await take(follower, 2)

    followed.revoke()
    await take(follower, 1)
    followed.revoke()
    followed.beat()
    messages = await take(follower, 2)

    assert kinds(messages) == ["revocation", "heartbeat"]
    assert messages[1].heartbeat.revision == 2


async def test_large_snapshot_is_encoded_as_it_is_sent() -> None:
    """However large the view, the loop is free between parts; who comes meanwhile shares the parts made so far."""
    followed = Followed()
    followed.revoke(snapshots.SNAPSHOT_PART * 4 + 1)
    first, second = followed.follow(), followed.follow()

    ahead = [await anext(first) for _ in range(3)]
    encoded = len(followed.watchers._snapshots.current()._parts)
    behind = [await anext(second) for _ in range(5)]
    ahead += [await anext(first) for _ in range(2)]

    parts = [pb.WatchResponse.FromString(part).snapshot for part in ahead]
    assert encoded == 3
    assert [id(part) for part in ahead] == [id(part) for part in behind]
    assert [part.partial for part in parts] == [True, True, True, True, False]
    assert sum(len(part.revocations) for part in parts) == snapshots.SNAPSHOT_PART * 4 + 1


async def test_entries_that_come_during_a_snapshot_follow_it() -> None:
    """Nothing falls between a snapshot and what comes after, however long the snapshot takes."""
    followed = Followed()
    followed.revoke(snapshots.SNAPSHOT_PART * 2)
    follower = followed.follow()
    first = await take(follower, 1)

    followed.revoke(3)
    rest = await take(follower, 2)

    assert kinds(first + rest) == ["snapshot", "snapshot", "revocation_batch"]
    assert rest[0].snapshot.revision == snapshots.SNAPSHOT_PART * 2
    assert len(rest[1].revocation_batch.revocations) == 3


async def test_followers_leave_room_for_others() -> None:
    """However many followers there are, whatever else waits on the loop has its turn within a few of them."""
    followed, served = Followed(), [0]
    followers = [followed.follow() for _ in range(300)]
    for follower in followers:
        await take(follower, 2)

    async def follow(follower: AsyncIterator[bytes]) -> None:
        await anext(follower)
        served[0] += 1

    async def count_turns() -> list[int]:
        seen = [0]
        while seen[-1] < len(followers):
            await asyncio.sleep(0)
            seen.append(served[0])
        return seen

    tasks = [asyncio.create_task(follow(follower)) for follower in followers]
    await asyncio.sleep(0)
    followed.revoke()
    seen = await asyncio.wait_for(count_turns(), 10)
    await asyncio.gather(*tasks)

    assert max(after - before for before, after in pairwise(seen)) <= rounds.AT_A_TIME


async def test_nothing_waits_for_the_round_after_next(monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes while a round is under way reaches those already served with the very next one."""
    monkeypatch.setattr(rounds, "AT_A_TIME", 1)
    followed = Followed()
    followers = [followed.follow() for _ in range(3)]
    for follower in followers:
        await take(follower, 2)

    async def served_first(follower: AsyncIterator[bytes]) -> list[pb.WatchResponse]:
        one = await take(follower, 1)
        followed.revoke()
        return one + await take(follower, 1)

    first = asyncio.create_task(served_first(followers[0]))
    others = [asyncio.create_task(take(follower, 1)) for follower in followers[1:]]
    await asyncio.sleep(0)
    followed.revoke()

    assert kinds(await first) == ["revocation", "revocation"]
    assert [kinds(await other) for other in others] == [["revocation_batch"], ["revocation_batch"]]


async def test_rounds_keep_their_distance(monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes right after a round waits for the next, together with all that follows until then."""
    monkeypatch.setattr(rounds, "GAP_SECONDS_EACH", 0.05)
    followed = Followed()
    follower = followed.follow()
    await take(follower, 2)
    reading = asyncio.ensure_future(take(follower, 2))
    await asyncio.sleep(0)

    for _ in range(4):
        followed.revoke()
        await asyncio.sleep(0.005)
    messages = await reading

    assert kinds(messages) == ["revocation", "revocation_batch"]
    assert len(messages[1].revocation_batch.revocations) == 3


async def test_followers_end_with_the_feed() -> None:
    """When the instance stops, every stream ends by itself, and says why."""
    followed = Followed()
    follower = followed.follow()
    await take(follower, 2)
    waiting = asyncio.ensure_future(anext(follower, None))
    await asyncio.sleep(0)

    followed.feed.close()

    with pytest.raises(Stopping):
        await asyncio.wait_for(waiting, 5)
