"""Following the log, and knowing clients, over stores that the test controls."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from authsvc.core.callers import LOOK_AGAIN_MS, ClientRegistry
from authsvc.core.contracts import StoreUnavailable
from authsvc.core.errors import RevisionNotReached, ViewTooOld
from authsvc.core.feed import Feed
from authsvc.core.model import LogPosition, Revocation, Subject
from authsvc.core.tail import VIEW_BOUND_MS, Tail
from authsvc.core.view import View

NOW = 1_790_000_000_000


class Log:
    """A log in memory, which can be down, slow, or have lost entries."""

    def __init__(self) -> None:
        self.entries: list[Revocation] = []
        self.position_now = LogPosition(0, 1, 0)
        self.is_down = False
        self.reads = 0

    def add(self, count: int = 1) -> None:
        """Commit some revocations."""
        for _ in range(count):
            revision = self.position_now.revision + 1
            self.entries.append(Revocation(revision, Subject.SESSION, f"s{revision}", None, NOW * 2))
            self.position_now = LogPosition(revision, 1, 0)

    async def position(self) -> LogPosition:
        self.reads += 1
        await asyncio.sleep(0)
        if self.is_down:
            raise StoreUnavailable
        return self.position_now

    async def list_since(self, revision: int, limit: int) -> Sequence[Revocation]:
        await asyncio.sleep(0)
        return [entry for entry in self.entries if entry.revision > revision][:limit]

    async def snapshot(self, now: int) -> tuple[LogPosition, AsyncIterator[Sequence[Revocation]]]:
        return self.position_now, self._pages()

    async def _pages(self) -> AsyncIterator[Sequence[Revocation]]:
        yield self.entries

    async def bump_epoch(self) -> int:
        return 2


class Followed:
    """A tail over such a log, with the time of day at NOW and a monotonic clock to move."""

    def __init__(self) -> None:
        self.log, self.view, self.feed = Log(), View(), Feed()
        self.monotonic = 0
        self.moves: list[tuple[LogPosition, LogPosition]] = []
        self.tail = Tail(
            self.log,
            self.view,
            self.feed,
            lambda: NOW,
            lambda: self.monotonic,
            lambda *move: self.moves.append(move),
        )


@pytest.fixture
def followed() -> Followed:
    """A fresh one."""
    return Followed()


async def test_reads_on(followed: Followed) -> None:
    """What is new in the log is in the view and in the feed, in order, once."""
    followed.log.add(3)
    await followed.tail.poll()
    followed.log.add(2)
    await followed.tail.poll()
    await followed.tail.poll()

    assert followed.view.revision == 5
    assert [event.revision for event in followed.feed.read(0, 100) or ()] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("missing", [slice(0, 2), slice(1, 3)], ids=["at the beginning", "in between"])
async def test_gap_starts_anew(followed: Followed, missing: slice) -> None:
    """If entries are missing from the log the view starts again from a snapshot, and so do the followers.

    Housekeeping leaves such gaps. A follower that was sent the entries around one would take it for a loss.
    """
    followed.log.add(5)
    del followed.log.entries[missing]

    await followed.tail.poll()

    assert followed.view.revision == 5
    assert followed.feed.read(0, 100) is None
    assert followed.view.revokes("s5", "", 0)


async def test_hint_as_it_is_cancelled(followed: Followed) -> None:
    """A hint that comes in the same moment as the end does not keep the tail alive."""
    for _ in range(20):
        task = asyncio.create_task(followed.tail.run())
        await asyncio.sleep(0.001)

        followed.tail.hint()
        task.cancel()

        async with asyncio.timeout(1):
            await asyncio.gather(task, return_exceptions=True)
        assert task.cancelled()


async def test_goes_on_after_trouble(followed: Followed) -> None:
    """A log that does not answer is asked again."""
    followed.log.is_down = True
    task = asyncio.create_task(followed.tail.run())
    followed.tail.hint()
    await asyncio.sleep(0.01)
    followed.log.is_down = False
    followed.log.add()

    followed.tail.hint()
    await followed.tail.reach(1, 1_000)

    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert followed.view.revision == 1


async def test_all_who_ask_share_a_read(followed: Followed) -> None:
    """Polls at the same time share one read; one that comes while it is under way waits for the next."""
    await asyncio.gather(*(followed.tail.poll() for _ in range(50)))
    first = followed.log.reads
    reading = asyncio.create_task(followed.tail.poll())
    await asyncio.sleep(0)
    await asyncio.gather(reading, *(followed.tail.poll() for _ in range(50)))

    assert first <= 2
    assert followed.log.reads - first == 2


async def test_reach(followed: Followed) -> None:
    """Who waits for a revision goes on when it is there, and is told if it does not come in time."""
    followed.log.add(2)

    await followed.tail.reach(2, 1_000)
    with pytest.raises(RevisionNotReached):
        await followed.tail.reach(3, 20)
    with pytest.raises(RevisionNotReached):
        await followed.tail.reach(3, -50)


@pytest.mark.parametrize(("age_ms", "fresh"), [(VIEW_BOUND_MS, True), (VIEW_BOUND_MS + 1, False)])
async def test_fresh(followed: Followed, age_ms: int, fresh: bool) -> None:
    """A view is fresh for five seconds after the log was read; an older one is read anew, or is too old."""
    await followed.tail.poll()
    followed.monotonic = age_ms

    assert followed.tail.is_fresh() is fresh
    followed.log.is_down = True
    if not fresh:
        with pytest.raises(ViewTooOld):
            await followed.tail.ensure_fresh()
    followed.log.is_down = False
    await followed.tail.ensure_fresh()
    assert followed.tail.is_fresh()


class Store:
    """A store of no clients that counts how often it is read."""

    def __init__(self) -> None:
        self.reads = 0
        self.is_down = False

    async def list_all(self) -> tuple[Sequence[Any], Sequence[Any]]:
        self.reads += 1
        await asyncio.sleep(0)
        if self.is_down:
            raise StoreUnavailable
        return (), ()


async def test_unknown_keys_share_a_read() -> None:
    """However many calls bring keys that are not known, clients are read once in a quarter second at most."""
    store: Any = Store()
    registry = ClientRegistry(store, lambda: NOW - LOOK_AGAIN_MS)
    await registry.load()

    began = asyncio.get_running_loop().time()
    await asyncio.gather(*(registry.look_again() for _ in range(200)))

    assert store.reads == 2
    assert asyncio.get_running_loop().time() - began >= 0.9 * LOOK_AGAIN_MS / 1_000


async def test_unknown_key_while_down() -> None:
    """With the store down nobody is told that their key is unknown: it may have been made a moment ago."""
    store: Any = Store()
    registry = ClientRegistry(store, lambda: NOW)
    await registry.load()
    store.is_down = True

    for _ in range(2):
        with pytest.raises(StoreUnavailable):
            await registry.look_again()
