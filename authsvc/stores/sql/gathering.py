"""Owns doing together what comes at about the same time. Leaves what that is to whoever gathers.

What comes while as much as may be is under way waits, and is then done all at once. So the busier a process, the more
it does at a time, and the less each costs; and what comes alone is done at once.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from authsvc.core import patience
from authsvc.core.contracts import StoreUnavailable

_T = TypeVar("_T")
_R = TypeVar("_R")


@dataclass(frozen=True, slots=True)
class _Asked(Generic[_T, _R]):
    """One piece, who waits for what comes of it, and until when."""

    piece: _T
    answer: "asyncio.Future[_R]"
    until: float | None


class Gathering(Generic[_T, _R]):
    """Does pieces of work `together`, which gives a result for each: at most `most` at a time, `at_once` times at once.

    Whoever goes away meanwhile changes nothing about it. A piece that nobody waits for any more is not begun.
    """

    def __init__(
        self, together: Callable[[Sequence[_T]], Awaitable[Sequence[_R]]], most: int, at_once: int
    ) -> None:
        self._together = together
        self._most = most
        self._at_once = at_once
        self._waiting: deque[_Asked[_T, _R]] = deque()
        self._under_way: set[asyncio.Task[None]] = set()
        self._begins = False

    async def do(self, piece: _T) -> _R:
        """Return what comes of it. Raises StoreUnavailable if its turn comes too late, and what `together` raises."""
        answer: asyncio.Future[_R] = asyncio.get_running_loop().create_future()
        asked = _Asked(piece, answer, patience.waited_until())
        self._waiting.append(asked)
        self._begin_soon()
        return await asked.answer

    def _begin_soon(self) -> None:
        """Not at once: what comes in the same turn of the event loop comes along."""
        if self._waiting and not self._begins and len(self._under_way) < self._at_once:
            self._begins = True
            asyncio.get_running_loop().call_soon(self._begin)

    def _begin(self) -> None:
        self._begins = False
        several = [self._waiting.popleft() for _ in range(min(self._most, len(self._waiting)))]
        if several := [asked for asked in several if _is_waited_for(asked)]:
            task = asyncio.create_task(self._do(several))
            self._under_way.add(task)
            task.add_done_callback(self._ended)
        self._begin_soon()

    async def _do(self, several: list[_Asked[_T, _R]]) -> None:
        moments = [asked.until for asked in several if asked.until is not None]
        patience.wait_until(max(moments) if len(moments) == len(several) else None)
        try:
            results = await self._together([asked.piece for asked in several])
        except Exception as error:  # noqa: BLE001  it is told to each who waits
            for asked in several:
                if not asked.answer.done():
                    asked.answer.set_exception(error)
        else:
            for asked, result in zip(several, results, strict=True):
                if not asked.answer.done():
                    asked.answer.set_result(result)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._under_way.discard(task)
        self._begin_soon()


def _is_waited_for(asked: _Asked[_T, _R]) -> bool:
    if not asked.answer.done() and patience.is_over(asked.until):
        asked.answer.set_exception(StoreUnavailable("its turn came too late"))
    return not asked.answer.done()
