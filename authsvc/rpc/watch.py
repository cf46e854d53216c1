"""Owns Watch on the wire: snapshots, and one encoding of each event for all who follow. Leaves the ring to core.feed.

A follower that falls out of the ring gets a snapshot again, so nothing is ever queued for a slow one.
"""

from collections.abc import AsyncIterator, Iterator
from itertools import islice

from authsvc.core.feed import FeedEvent
from authsvc.core.model import Revocation
from authsvc.rpc import convert
from authsvc.rpc.services import Services
from authsvc.v1 import auth_service_pb2 as pb
from authsvc.v1 import resources_pb2 as resources

SNAPSHOT_PART = 2_000


class Watchers:
    """Serves any number of followers of one feed."""

    def __init__(self, services: Services) -> None:
        self._feed = services.feed
        self._view = services.view
        self._keys = services.keys
        self._snapshot: tuple[int, list[bytes]] | None = None

    async def follow(self, from_revision: int) -> AsyncIterator[bytes]:
        """Yield encoded WatchResponses: a snapshot if one is needed, then every event as it comes."""
        place = self._resume(from_revision)
        while not self._feed.closed:
            events = None if place is None else self._feed.read(place)
            if place is None or events is None:
                place, parts = self._current_snapshot()
                for part in parts:
                    yield part
                continue
            for event in events:
                yield event.wire or self._encode(event)
            place += len(events)
            await self._feed.changed(place)

    def _resume(self, from_revision: int) -> int | None:
        if not 0 < from_revision <= self._view.revision:
            return None
        return self._feed.place_after(from_revision)

    def _current_snapshot(self) -> tuple[int, list[bytes]]:
        """The place after a snapshot, and its parts, which followers share while the ring still bridges to now."""
        if self._snapshot is None or self._feed.read(self._snapshot[0]) is None:
            self._snapshot = (self._feed.end, list(self._encode_snapshot()))
        return self._snapshot

    def _encode_snapshot(self) -> Iterator[bytes]:
        entries = self._view.entries()
        part = list(islice(entries, SNAPSHOT_PART))
        while following := list(islice(entries, SNAPSHOT_PART)):
            yield self._encode_part(part, partial=True)
            part = following
        yield self._encode_part(part, partial=False)

    def _encode_part(self, entries: list[Revocation], partial: bool) -> bytes:
        snapshot = pb.Snapshot(
            revision=self._view.revision,
            revocations=map(convert.revocation_message, entries),
            keys=() if partial else convert.public_keys(self._keys),
            partial=partial,
        )
        return pb.WatchResponse(snapshot=snapshot).SerializeToString()

    def _encode(self, event: FeedEvent) -> bytes:
        event.wire = self._message(event).SerializeToString()
        return event.wire

    def _message(self, event: FeedEvent) -> pb.WatchResponse:
        if event.revocation is not None:
            return pb.WatchResponse(revocation=convert.revocation_message(event.revocation))
        if event.heartbeat_at is not None:
            beat = pb.Heartbeat(revision=event.revision, server_time=convert.timestamp(event.heartbeat_at))
            return pb.WatchResponse(heartbeat=beat)
        keys = resources.KeySet(keys=convert.public_keys(self._keys), jwks=self._keys.jwks)
        return pb.WatchResponse(key_set=keys)
