"""Owns when followers are served: in rounds, so that many of them cannot take the instance from its callers.

Leaves what they are sent to `watch`. After a quiet time a round begins at once. Rounds that follow one another keep a
distance that grows with the number of followers; what comes in between goes out together in the next. Within a round a
few followers at a time have their turn, and calls that wait have theirs in between.
"""

import asyncio

from authsvc.core.feed import Beat, Feed

# Serving a follower costs about 0.1 ms of CPU, so rounds take at most 40 % of one core: 1,000 followers, 4 a second.
GAP_SECONDS_EACH = 0.000_25
LONGEST_GAP_SECONDS = 0.5
AT_A_TIME = 25


class Rounds:
    """The rounds of one feed, on one event loop."""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed
        self._waiting: list[asyncio.Future[None]] = []
        self._calling: asyncio.Task[None] | None = None

    async def next(self) -> None:
        """Return, when there is something new, as the caller's turn comes. Call only when up to date with the feed."""
        if self._calling is None:
            self._calling = asyncio.create_task(self._call(self._feed.end, self._feed.beat))
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        await turn

    async def _call(self, place: int, beat: Beat) -> None:
        """Serve those who wait whenever the feed has moved on from `place` and `beat`, until it closes."""
        clock = asyncio.get_running_loop().time
        while not self._feed.closed:
            await self._feed.changed(place, beat)
            # Noted before anybody is served: who was served first may be waiting again for what comes meanwhile.
            place, beat, began = self._feed.end, self._feed.beat, clock()
            served = await self._serve()
            gap = min(LONGEST_GAP_SECONDS, served * GAP_SECONDS_EACH)
            await asyncio.sleep(max(0, began + gap - clock()))
        await self._serve()

    async def _serve(self) -> int:
        waiting, self._waiting = self._waiting, []
        for first in range(0, len(waiting), AT_A_TIME):
            for turn in waiting[first : first + AT_A_TIME]:
                if not turn.done():  # a follower may have gone
                    turn.set_result(None)
            await asyncio.sleep(0)
        return len(waiting)
