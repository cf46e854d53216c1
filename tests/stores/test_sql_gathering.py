"""Doing together what comes at about the same time: what goes together, who hears what, and who is not kept waiting."""

import asyncio
from collections.abc import Sequence

import pytest

from authsvc.core import patience
from authsvc.core.contracts import StoreUnavailable
from authsvc.stores.sql.gathering import Gathering


class Work:
    """Doubles numbers once it is let; what went together is in `batches`."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.let = asyncio.Event()
        self.fails = False

    async def together(self, numbers: Sequence[int]) -> list[int]:
        self.batches.append(list(numbers))
        await self.let.wait()
        if self.fails:
            raise StoreUnavailable("gone")
        return [2 * number for number in numbers]


async def turns() -> None:
    """Let everything happen that waits for nothing."""
    for _ in range(10):
        await asyncio.sleep(0)


async def begun(gathering: Gathering[int, int], *numbers: int) -> "list[asyncio.Task[int]]":
    """Ask for each number, and see what can begin, begun."""
    tasks = [asyncio.create_task(gathering.do(number)) for number in numbers]
    await turns()
    return tasks


async def test_what_comes_meanwhile_goes_together() -> None:
    """One alone begins at once; what comes while it is under way waits, and then goes all at once. Guard: `at_once`."""
    work = Work()
    gathering = Gathering(work.together, most=8, at_once=1)
    tasks = await begun(gathering, 1)
    tasks += await begun(gathering, 2)
    tasks += await begun(gathering, 3)
    assert work.batches == [[1]]

    work.let.set()

    assert await asyncio.gather(*tasks) == [2, 4, 6]
    assert work.batches == [[1], [2, 3]]


async def test_no_more_than_the_most() -> None:
    """What is too much for one time goes in several, as many at once as may be."""
    work = Work()
    gathering = Gathering(work.together, most=2, at_once=2)
    tasks = await begun(gathering, 1, 2, 3, 4, 5)
    assert work.batches == [[1, 2], [3, 4]]

    work.let.set()

    assert await asyncio.gather(*tasks) == [2, 4, 6, 8, 10]
    assert work.batches == [[1, 2], [3, 4], [5]]


async def test_failure_is_told_to_each() -> None:
    """Whoever went along hears of the failure; those who come afterwards begin anew."""
    work = Work()
    gathering = Gathering(work.together, most=8, at_once=1)
    work.fails = True
    tasks = await begun(gathering, 1, 2)
    work.let.set()

    ends = await asyncio.gather(*tasks, return_exceptions=True)
    work.fails = False

    assert [type(end) for end in ends] == [StoreUnavailable, StoreUnavailable]
    assert await gathering.do(3) == 6


async def test_whoever_goes_changes_nothing() -> None:
    """A caller who goes away while it is under way stops nothing; one who goes before is not worked for."""
    work = Work()
    gathering = Gathering(work.together, most=8, at_once=1)
    gone, stays = await begun(gathering, 1, 2)
    (gone_early,) = await begun(gathering, 3)
    gone.cancel()
    gone_early.cancel()
    await turns()

    work.let.set()

    assert await stays == 4
    assert await gathering.do(4) == 8
    assert work.batches == [[1, 2], [4]]


async def test_nobody_waits_any_more() -> None:
    """What nobody waits for any more when its turn comes is not begun. Guard: `_is_waited_for`."""
    work = Work()
    gathering = Gathering(work.together, most=8, at_once=1)
    (first,) = await begun(gathering, 1)
    patience.wait_at_most(0)
    (late,) = await begun(gathering, 2)
    patience.wait_at_most(None)
    (later,) = await begun(gathering, 3)

    work.let.set()

    assert [await first, await later] == [2, 6]
    with pytest.raises(StoreUnavailable):
        await late
    assert work.batches == [[1], [3]]


async def test_waited_for_as_long_as_the_most_patient() -> None:
    """What goes together is given up when the last one who waits does, whoever asked first."""
    seen: list[float | None] = []

    async def together(numbers: Sequence[int]) -> Sequence[int]:
        seen.append(patience.waited_until())
        return numbers

    gathering = Gathering(together, most=8, at_once=1)
    patience.wait_until(1e12)
    tasks = [asyncio.create_task(gathering.do(1))]
    patience.wait_until(2e12)
    tasks.append(asyncio.create_task(gathering.do(2)))
    await asyncio.gather(*tasks)
    patience.wait_until(None)
    await asyncio.gather(gathering.do(3), *tasks)

    assert seen == [2e12, None]
