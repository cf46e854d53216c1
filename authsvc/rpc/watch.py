"""Owns Watch on the wire: what each follower is sent, encoded once for all who are in step.

Leaves the ring to core.feed, snapshots to `snapshots`, when to send to `rounds`. A follower that falls out of the ring
gets a snapshot again, so nothing is ever queued for a slow one. What came while it was busy is sent as one message.
"""

from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import groupby

from authsvc.core.errors import CallerUnauthenticated, RevisionNotReached, Stopping
from authsvc.core.feed import Beat, FeedEvent
from authsvc.rpc import convert
from authsvc.rpc.rounds import Rounds
from authsvc.rpc.services import Services
from authsvc.rpc.snapshots import Snapshots
from authsvc.v1 import auth_service_pb2 as pb
from authsvc.v1 import resources_pb2 as resources

BATCH = 1_000
# A follower that comes from another instance may be ahead of this one by a poll or two.
CATCH_UP_MS = 1_000


class Watchers:
    """Serves any number of followers of one feed."""

    def __init__(self, services: Services) -> None:
        self._feed = services.feed
        self._view = services.view
        self._tail = services.tail
        self._keys = services.keys
        self._snapshots = Snapshots(services)
        self._rounds = Rounds(services.feed)
        self._runs: dict[bool, tuple[int, int, Sequence[bytes]]] = {}
        self._beat: tuple[Beat, bytes] = (Beat(0, 0), b"")

    async def follow(
        self, from_revision: int, may_go_on: Callable[[], bool], batches: bool = True
    ) -> AsyncIterator[bytes]:
        """Yield encoded WatchResponses: a snapshot or else the key set, then every event as it comes.

        With `batches` revocations that wait together come in one message. Raises Stopping when the instance stops:
        whoever follows goes on elsewhere, from the revision it has reached. Raises CallerUnauthenticated within a
        second of the caller's losing its key or permission.
        """
        with self._feed.followed():
            place = await self._resume(from_revision)
            beat: Beat | None = None
            if place is not None:
                yield self._encode_keys()
            while not self._feed.closed:
                if not may_go_on():
                    raise CallerUnauthenticated
                events = None if place is None else self._feed.read(place, BATCH)
                if place is None or events is None:
                    snapshot = self._snapshots.current()
                    async for part in snapshot.parts():
                        yield part
                    place = snapshot.place
                elif events:
                    for message in self._encode(place, events, batches):
                        yield message
                    place += len(events)
                elif beat is not self._feed.beat:
                    is_first, beat = beat is None, self._feed.beat
                    for message in self._encode_beat(beat, is_first):
                        yield message
                else:
                    await self._rounds.next()
            raise Stopping

    async def _resume(self, from_revision: int) -> int | None:
        """The place in the ring to go on from. None if only a snapshot will do."""
        if from_revision <= 0:
            return None
        with suppress(RevisionNotReached):
            await self._tail.reach(from_revision, CATCH_UP_MS)
            return self._feed.place_after(from_revision)
        return None

    def _encode(self, place: int, events: Sequence[FeedEvent], batches: bool) -> Sequence[bytes]:
        """The messages for a run of events. Followers are mostly in step, so the last run is kept."""
        run = self._runs.get(batches)
        if run is None or run[:2] != (place, len(events)):
            run = self._runs[batches] = (place, len(events), tuple(self._encode_run(events, batches)))
        return run[2]

    def _encode_run(self, events: Iterable[FeedEvent], batches: bool) -> Iterator[bytes]:
        for is_keys, run in groupby(events, key=lambda event: event.revocation is None):
            if is_keys:
                yield self._encode_keys()
            else:
                entries = [event.revocation for event in run if event.revocation is not None]
                yield from _encode_revocations(list(map(convert.revocation_message, entries)), batches)

    def _encode_keys(self) -> bytes:
        ring = self._keys.ring
        keys = resources.KeySet(keys=convert.public_keys(ring), jwks=ring.jwks)
        return pb.WatchResponse(key_set=keys).SerializeToString()

    def _encode_beat(self, newest: Beat, is_first: bool) -> Iterator[bytes]:
        """The newest heartbeat, unless it is not true any more; for a new follower one of now, to measure from."""
        now = self._tail.beat()
        if now is None:
            return
        if is_first:
            yield _encode_beat(now)
            return
        if self._beat[0] is not newest:
            self._beat = (newest, _encode_beat(newest))
        yield self._beat[1]


def _encode_revocations(messages: list[resources.Revocation], batches: bool) -> Iterator[bytes]:
    if batches and len(messages) > 1:
        batch = pb.RevocationBatch(revocations=messages)
        yield pb.WatchResponse(revocation_batch=batch).SerializeToString()
        return
    for message in messages:
        yield pb.WatchResponse(revocation=message).SerializeToString()


def _encode_beat(beat: Beat) -> bytes:
    message = pb.Heartbeat(revision=beat.revision, server_time=convert.timestamp(beat.sent_at))
    return pb.WatchResponse(heartbeat=message).SerializeToString()
