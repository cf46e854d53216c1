"""Owns cleaning up: one instance at a time removes what nothing needs any more, in small batches with pauses between.

Turns are for efficiency alone: were two to clean up at once, each would take what the other does not. A turn lasts
longer than a round, so that it stays with an instance that lives and passes on from one that does not. Leaves what is
over to the chores.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Protocol

from authsvc.core.clock import MINUTE, SECOND, Clock
from authsvc.core.contracts import StoreUnavailable

BATCH = 500
COUNTED_AT_MOST = 10_000
"""A backlog is counted no further than this: beyond, "many" is all that anybody needs to know."""

_ROUND_SECONDS = 30.0
_PAUSE_SECONDS = 0.1
_TURN_MS = 2 * MINUTE


class Turns(Protocol):
    """Whose turn it is, as all instances know it."""

    async def take_turn(self, holder: str, now: int, until_at: int) -> bool:
        """Take the turn until then, or keep it. False while somebody else has it. Raises StoreUnavailable."""


class Chore(Protocol):
    """One kind of thing to remove."""

    @property
    def name(self) -> str:
        """What is removed, in a word, for metrics."""

    async def step(self) -> int | None:
        """Settle one batch; return how many were removed. None: nothing is left to do. Raises StoreUnavailable."""

    async def backlog(self) -> int:
        """Count what is due, up to COUNTED_AT_MOST. Raises StoreUnavailable."""


class Housekeeping:
    """Takes turns with the other instances, as `holder`, at the chores."""

    def __init__(self, holder: str, turns: Turns, chores: Sequence[Chore], clock: Clock) -> None:
        self._holder = holder
        self._turns = turns
        self._chores = chores
        self._clock = clock
        self.has_turn = False
        """Whether it is this instance that cleans up."""
        self.finished_at = 0
        """When it last came to an end with everything; 0 if it never has."""
        self.backlog: dict[str, int] = {}
        """What is due, by chore, as counted in the last round; empty while it is another's turn."""
        self.removed = {chore.name: 0 for chore in chores}
        """What was removed here since the start, by chore."""

    async def run(self) -> None:
        """Clean up whenever it is this instance's turn, until cancelled."""
        while True:
            await self.round()
            await asyncio.sleep(_ROUND_SECONDS)

    async def round(self) -> None:
        """Do all there is to do, if it is this instance's turn. What cannot be done now is left for the next round."""
        done = [await self._clear(chore) for chore in self._chores]
        if all(done):
            self.finished_at = self._clock()

    async def release(self) -> None:
        """Let another instance have the turn, if it is this one's. Raises StoreUnavailable."""
        if self.has_turn:
            self.has_turn = False
            await self._turns.take_turn(self._holder, self._clock(), self._clock() - SECOND)

    async def _clear(self, chore: Chore) -> bool:
        """Whether nothing is left, as far as this instance is concerned."""
        with suppress(StoreUnavailable):
            while await self._keep_turn():
                self.backlog[chore.name] = await chore.backlog()
                removed = await chore.step()
                if removed is None:
                    return True
                self.removed[chore.name] += removed
                await asyncio.sleep(_PAUSE_SECONDS)
            self.backlog.clear()
        return False

    async def _keep_turn(self) -> bool:
        now = self._clock()
        self.has_turn = await self._turns.take_turn(self._holder, now, now + _TURN_MS)
        return self.has_turn
