"""Owns following the revocation log: keeps the view fresh and feeds the followers. Leaves the log itself to the stores.

The log is read whenever a hint says that it moved, and every half second regardless. Revisions are given out without
gaps, so an entry that is missing shows: housekeeping has removed it, or the database is another one. Then the view
starts again from a snapshot, and so do all who follow.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from contextvars import Context

from authsvc.core.clock import SECOND, Clock
from authsvc.core.contracts import RevocationLog, StoreUnavailable
from authsvc.core.errors import RevisionNotReached, ViewTooOld
from authsvc.core.feed import Beat, Feed, FeedEvent
from authsvc.core.model import LogPosition, Revocation
from authsvc.core.view import View

POLL_SECONDS = 0.5
VIEW_BOUND_MS = 5 * SECOND
# How long ago the log may have been read for a heartbeat: some polls may fail, but followers are not deceived for long.
BEAT_BOUND_MS = 1_500
_PAGE = 1_000

OnMove = Callable[[LogPosition, LogPosition], None]


class Tail:
    """Follows the log. `on_move(before, after)` is told whenever its position changes."""

    def __init__(
        self, log: RevocationLog, view: View, feed: Feed, clock: Clock, monotonic: Clock, on_move: OnMove
    ) -> None:
        self._log = log
        self._view = view
        self._feed = feed
        self._clock = clock
        self._monotonic = monotonic
        self._on_move = on_move
        self._position = LogPosition(0, 0, 0)
        self._polling: asyncio.Task[None] | None = None
        self._hinted = asyncio.Event()

    @property
    def position(self) -> LogPosition:
        """Where the log stood when it was last read."""
        return self._position

    def is_fresh(self) -> bool:
        """Whether the log was read within the last 5 seconds, by a clock that runs on during a pause of the process."""
        return self._monotonic() - self._view.fresh_at <= VIEW_BOUND_MS

    def hint(self) -> None:
        """Look at the log now."""
        self._hinted.set()

    async def load(self) -> None:
        """Fill the view from a snapshot. Raises StoreUnavailable."""
        read_at = self._monotonic()
        position, pages = await self._log.snapshot(self._clock())
        async for page in pages:
            for entry in page:
                self._view.apply(entry)
        self._view.restart(position)
        self._feed.restart(position.revision)
        self._moved(position, read_at)

    async def poll(self) -> None:
        """Read what is new; all who call at the same time share one read, begun no earlier. Raises StoreUnavailable."""
        under_way = self._polling
        if under_way is not None:
            # That read may have begun before what the caller wants to see was committed; so wait for the next.
            with suppress(StoreUnavailable):
                await asyncio.shield(under_way)
        if self._polling is None or self._polling is under_way:
            # It is everybody's reading, so nobody's impatience counts.
            self._polling = asyncio.create_task(self._read(), context=Context())
            self._polling.add_done_callback(self._polled)
        await asyncio.shield(self._polling)

    async def run(self) -> None:
        """Poll on every hint and every half second until cancelled; then call `close`."""
        while True:
            # Not wait_for: before Python 3.12 it loses a cancellation that comes together with the hint.
            with suppress(TimeoutError):
                async with asyncio.timeout(POLL_SECONDS):
                    await self._hinted.wait()
            self._hinted.clear()
            with suppress(StoreUnavailable):
                await self.poll()

    async def close(self) -> None:
        """See the last read out, which outlives whoever waited for it: after this the log is not read any more."""
        if self._polling is not None:
            await asyncio.wait([self._polling])

    async def listen(self, hints: AsyncIterator[None]) -> None:
        """Turn hints into polls until cancelled."""
        async for _ in hints:
            self.hint()

    async def reach(self, revision: int, wait_ms: int) -> None:
        """Return once the view is at least at `revision`. Raises RevisionNotReached after `wait_ms`."""
        if self._view.revision >= revision:
            return
        try:
            async with asyncio.timeout(wait_ms / 1000):
                while self._view.revision < revision:
                    place = self._feed.end
                    with suppress(StoreUnavailable):
                        await self.poll()
                    if self._view.revision < revision:
                        await self._feed.changed(place)
        except TimeoutError:
            raise RevisionNotReached from None

    async def ensure_fresh(self) -> None:
        """Return if the view is fresh, reading the log if need be. Raises ViewTooOld."""
        if not self.is_fresh():
            try:
                await self.poll()
            except StoreUnavailable:
                raise ViewTooOld from None

    def beat(self) -> Beat | None:
        """A heartbeat of now: followers count the age of their own views from here. None unless all is well."""
        if self._monotonic() - self._view.fresh_at > BEAT_BOUND_MS:
            return None
        return Beat(self._view.revision, self._clock())

    def heartbeat(self) -> None:
        """Tell the followers that all is well, if it is."""
        if beat := self.beat():
            self._feed.publish_beat(beat)

    def _polled(self, task: asyncio.Task[None]) -> None:
        if self._polling is task:
            self._polling = None
        if not task.cancelled():
            task.exception()

    async def _read(self) -> None:
        read_at = self._monotonic()
        position = await self._log.position()
        while self._view.revision < position.revision:
            entries = await self._log.list_since(self._view.revision, _PAGE)
            if not entries or entries[-1].revision != self._view.revision + len(entries):
                await self.load()
                return
            self._take(entries)
        self._moved(position, read_at)

    def _take(self, entries: Sequence[Revocation]) -> None:
        self._view.advance(entries)
        self._feed.publish([FeedEvent(entry.revision, entry) for entry in entries])

    def _moved(self, position: LogPosition, read_at: int) -> None:
        self._view.fresh_at = read_at
        before, self._position = self._position, position
        if before != position:
            self._on_move(before, position)
