"""Owns the stream of what is new, for any number of followers.

Leaves the log to core.tail, the wire to authsvc.rpc.watch.

One bounded ring of events serves every follower: a follower is a number, its place in the ring. Nothing is queued per
follower, so a slow one costs nothing; when its place has left the ring it starts again from a snapshot.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from authsvc.core.model import Revocation

RING_SIZE = 16_384


@dataclass(slots=True, eq=False)
class FeedEvent:
    """One event: a revocation, a change of the key set (`revocation` None), or a heartbeat.

    `wire` is a place for the transport to keep its one encoding of the event, shared by all followers.
    """

    revision: int
    revocation: Revocation | None = None
    heartbeat_at: int | None = None
    wire: bytes | None = field(default=None, repr=False)


class Feed:
    """The ring. Places count up from 0; `end` is the place of the next event."""

    def __init__(self, size: int = RING_SIZE) -> None:
        self._events: deque[FeedEvent] = deque(maxlen=size)
        self._floor_revision = 0
        self._changed: asyncio.Future[None] | None = None
        self._closed = False
        self.end = 0

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

    def publish(self, events: Sequence[FeedEvent]) -> None:
        """Add events and wake the followers."""
        for event in events:
            if len(self._events) == self._events.maxlen:
                self._floor_revision = max(self._floor_revision, self._events[0].revision)
            self._events.append(event)
            self.end += 1
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
            if event.revision <= revision and event.heartbeat_at is None:
                return self.end - back
        return self.start

    def read(self, place: int) -> Sequence[FeedEvent] | None:
        """Events from `place` on. None if they have left the ring."""
        if place < self.start:
            return None
        skip = place - self.start
        return [self._events[at] for at in range(skip, len(self._events))]

    async def changed(self, place: int) -> None:
        """Return when there is something at `place`, or the feed is closed."""
        while place >= self.end and not self._closed:
            if self._changed is None:
                self._changed = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._changed)

    def _wake(self) -> None:
        changed, self._changed = self._changed, None
        if changed is not None and not changed.done():
            changed.set_result(None)
