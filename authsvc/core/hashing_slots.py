"""Owns who may hash next: a few at once, a bounded queue, and nobody who would wait in vain. Leaves hashing to
core.passwords.

A place is taken before anything else is done for a login, so that one too many costs nothing and is told at once. From
then on it either gets its turn in time or is refused. Callers known from before go ahead of strangers and have a queue
of their own: a flood of strangers leaves them their turn.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from time import monotonic

from authsvc.core.errors import Overloaded

# What one hash takes until it has been measured here.
_FIRST_GUESS_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Place:
    """A place in the queue: until when there is somebody to answer (monotonic seconds), and whether strangers wait."""

    deadline: float
    ahead: bool


class HashingSlots:
    """`slots` at once, and `queue` more of each kind that hold a place."""

    def __init__(self, slots: int, queue: int) -> None:
        self.seconds = _FIRST_GUESS_SECONDS
        """What one hash takes, as measured lately."""
        self._slots = slots
        self._queue = queue
        self._places = {True: 0, False: 0}
        self._busy = 0
        self._waiting: dict[bool, deque[asyncio.Future[None]]] = {True: deque(), False: deque()}

    @property
    def places_taken(self) -> int:
        """How many places are taken: turns held, and those waiting for one."""
        return sum(self._places.values())

    @contextmanager
    def place(self, wait_ms: int, ahead: bool) -> Iterator[Place]:
        """Hold a place. Raises Overloaded, at once, if there is none or its turn would come too late."""
        before = self._places[True] if ahead else self.places_taken
        expected_ms = int(1000 * self.seconds * (before // self._slots + 1))
        if self._places[ahead] >= self._slots + self._queue or expected_ms > wait_ms:
            raise Overloaded(retry_ms=expected_ms)
        self._places[ahead] += 1
        try:
            yield Place(monotonic() + wait_ms / 1000, ahead)
        finally:
            self._places[ahead] -= 1

    @asynccontextmanager
    async def turn(self, place: Place) -> AsyncIterator[None]:
        """Wait for a slot and hold it. Raises Overloaded as soon as it is too late to begin."""
        try:
            async with asyncio.timeout(place.deadline - self.seconds - monotonic()):
                await self._slot(place)
        except TimeoutError:
            raise Overloaded(retry_ms=int(1000 * self.seconds)) from None
        try:
            yield
        finally:
            self._give_on()

    async def _slot(self, place: Place) -> None:
        if self._busy < self._slots:
            self._busy += 1
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting[place.ahead].append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._give_on()  # It was handed over in the very moment of giving up.
            raise

    def _give_on(self) -> None:
        """Hand the slot to who waits longest, those ahead first."""
        for waiting in (self._waiting[True], self._waiting[False]):
            while waiting:
                turn = waiting.popleft()
                if not turn.done():
                    turn.set_result(None)
                    return
        self._busy -= 1
