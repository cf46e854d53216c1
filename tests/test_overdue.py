"""Tests for authsvc.overdue: one timer for all that may take equally long."""

import asyncio
from collections.abc import Callable

import pytest

from authsvc.overdue import Overdue

SECONDS = 0.05
PATIENCE_S = 5.0


async def test_given_up_when_it_takes_too_long() -> None:
    """Whatever has not ended by then is given up, each in its turn, and no sooner."""
    clock, given_up = asyncio.get_running_loop().time, dict[str, float]()
    overdue = Overdue[str](SECONDS, lambda one: given_up.update({one: clock()}))
    began = clock()
    overdue.begin("first")
    await asyncio.sleep(SECONDS / 2)
    overdue.begin("second")

    await until(lambda: "second" in given_up)

    assert list(given_up) == ["first", "second"]
    assert given_up["first"] >= began + SECONDS
    assert given_up["second"] >= began + 1.5 * SECONDS
    assert not overdue.end("first")


async def test_not_given_up_when_it_has_ended() -> None:
    """What ends in time is forgotten, also the one that the timer was set for; those after it are looked at still."""
    given_up: list[str] = []
    overdue = Overdue[str](SECONDS, given_up.append)
    for one in ("quick", "slow"):
        overdue.begin(one)

    assert overdue.end("quick")
    await until(lambda: bool(given_up))
    overdue.begin("later")
    await until(lambda: "later" in given_up)

    assert given_up == ["slow", "later"]


async def test_no_timer_is_left() -> None:
    """When nothing is under way nothing is looked at: a loop that ends is not held up."""
    overdue = Overdue[str](SECONDS, pytest.fail)
    overdue.begin("one")
    overdue.end("one")

    await until(lambda: overdue._timer is None)


async def until(holds: Callable[[], bool]) -> None:
    """Wait for it."""
    async with asyncio.timeout(PATIENCE_S):
        while not holds():  # noqa: ASYNC110  nothing tells of a timer that is gone
            await asyncio.sleep(0.005)
