"""The ring that followers of the log read."""

import asyncio

import pytest

from authsvc.core.feed import Feed, FeedEvent
from authsvc.core.model import Revocation, Subject


def events(*revisions: int) -> list[FeedEvent]:
    """Revocations with these revisions."""
    return [FeedEvent(each, Revocation(each, Subject.SESSION, f"s{each}", None, 0)) for each in revisions]


def revisions(feed: Feed, place: int) -> list[int] | None:
    """What a follower at a place reads."""
    found = feed.read(place, 100)
    return None if found is None else [event.revision for event in found]


@pytest.mark.parametrize(("after", "expected"), [(0, [1, 2, 3]), (1, [2, 3]), (2, [3]), (3, []), (4, [])])
def test_place_after(after: int, expected: list[int]) -> None:
    """From the place after a revision one reads everything newer, and nothing else."""
    feed = Feed()
    feed.publish(events(1, 2, 3))

    place = feed.place_after(after)

    assert place is not None
    assert revisions(feed, place) == expected


def test_fallen_out() -> None:
    """Who asks for what the ring has dropped is told so, by place and by revision: never a gap."""
    feed = Feed(size=3)
    feed.publish(events(1, 2, 3, 4, 5))

    assert revisions(feed, 0) is None
    assert feed.place_after(1) is None
    assert revisions(feed, feed.place_after(2) or 0) == [3, 4, 5]


def test_restart() -> None:
    """After a new start everybody begins again, unless they had the revision that it starts at."""
    feed = Feed()
    feed.publish(events(1, 2))
    place = feed.end

    feed.restart(7)

    assert revisions(feed, place) is None
    assert feed.place_after(6) is None
    assert revisions(feed, feed.place_after(7) or 0) == []


def test_limit() -> None:
    """A follower takes so many at a time, and loses none by it."""
    feed = Feed()
    feed.publish(events(1, 2, 3))

    first = feed.read(0, 2) or ()

    assert [event.revision for event in first] == [1, 2]
    assert revisions(feed, len(first)) == [3]


async def test_wakes_all() -> None:
    """Everybody who waits wakes when something comes."""
    feed = Feed()
    waiting = [asyncio.create_task(feed.changed(feed.end)) for _ in range(5)]
    await asyncio.sleep(0)

    feed.publish(events(1))

    async with asyncio.timeout(1):
        await asyncio.gather(*waiting)


async def test_one_that_gives_up_wakes_nobody_else() -> None:
    """A follower that goes away while it waits does not disturb the others."""
    feed = Feed()
    gone, waiting = (asyncio.create_task(feed.changed(feed.end)) for _ in range(2))
    await asyncio.sleep(0)

    gone.cancel()
    await asyncio.sleep(0)
    assert not waiting.done()
    feed.close()

    async with asyncio.timeout(1):
        await waiting
    assert feed.closed
