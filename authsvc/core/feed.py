"""Owns the stream of what is new, for any number of followers.

Leaves the log to core.tail, the wire to authsvc.rpc.watch.

One bounded ring of events serves every follower: a follower is a number, its place in the ring. Nothing is queued per
follower, so a slow one costs nothing; when its place has left the ring it starts again from a snapshot. Heartbeats are
not in the ring: only the newest tells anything, and only to a follower that has read everything else.
"""

import asyncio
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from authsvc.core.model import Revocation

RING_SIZE = 16_384


@dataclass(slots=True, eq=False)
class FeedEvent:
    """One event: a revocation, or a change of the key set (`revocation` None).

    `wire` is a place for the transport to keep its one encoding of the event, shared by all followers.
    """

    revision: int
    revocation: Revocation | None = None
    wire: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, eq=False)
class Beat:
    """A heartbeat: at `sent_at` nothing was missing up to `revision`."""

    revision: int
    sent_at: int


class Feed:
    """The ring. Places count up from 0; `end` is the place of the next event."""

    def __init__(self, size: int = RING_SIZE) -> None:
        self._events: deque[FeedEvent] = deque(maxlen=size)
        self._floor_revision = 0
        self._changed: asyncio.Future[None] | None = None
        self._closed = False
        self.end = 0
        self.beat = Beat(0, 0)
        self.followers = 0
        """How many follow at the moment."""

    @property
    def start(self) -> int:
        """Place of the oldest event still held."""
        return self.end - len(self._events)

    def restart(self, revision: int) -> None:
        """Drop everything: followers start again from a snapshot at `revision` or later."""
        self._events.clear()
        self._floor_revision = revision
        self.end += 1
        self._wake()

    @contextmanager
    def followed(self) -> Iterator[None]:
        """Count somebody as a follower for the length of the block."""
        self.followers += 1
        try:
            yield
        finally:
            self.followers -= 1

    def publish(self, events: Sequence[FeedEvent]) -> None:
        """Add events and wake the followers."""
        for event in events:
            if len(self._events) == self._events.maxlen:
                self._floor_revision = max(self._floor_revision, self._events[0].revision)
            self._events.append(event)
            self.end += 1
        self._wake()

    def publish_beat(self, beat: Beat) -> None:
        """Tell followers that all is well."""
        self.beat = beat
        self._wake()

    def close(self) -> None:
        """Let every follower end."""
        self._closed = True
        self._wake()

    @property
    def closed(self) -> bool:
        """Whether followers should end."""
        return self._closed

    def place_after(self, revision: int) -> int | None:
        """The place from which nothing after `revision` is missing. None if the ring no longer holds that."""
        if not self._floor_revision <= revision:
            return None
        for back, event in enumerate(reversed(self._events)):
            if event.revision <= revision:
                return self.end - back
        return self.start

    def read(self, place: int, limit: int) -> Sequence[FeedEvent] | None:
        """Up to `limit` events from `place` on. None if they have left the ring."""
        if place < self.start:
            return None
        skip = place - self.start
        return [self._events[at] for at in range(skip, min(skip + limit, len(self._events)))]

    async def changed(self, place: int, beat: Beat | None = None) -> None:
        """Return when there is something at `place`, a newer beat than `beat` (if given), or the feed is closed."""
        while place >= self.end and not self._closed and (beat is None or beat is self.beat):
            if self._changed is None:
                self._changed = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._changed)

    def _wake(self) -> None:
        changed, self._changed = self._changed, None
        if changed is not None and not changed.done():
            changed.set_result(None)
