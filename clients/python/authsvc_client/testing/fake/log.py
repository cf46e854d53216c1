"""Owns the fake's revocation log: gap-free revisions, and streams that follow it. Leaves whom to `revoking`."""

import json
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from threading import Condition
from time import monotonic

from authsvc.v1 import auth_service_pb2 as pb
from authsvc.v1 import resources_pb2 as resources
from authsvc_client.clock import Clock
from authsvc_client.testing.fake.messages import timestamp

Alive = Callable[[], bool]


class Log:
    """Entries in order, and changes of the key set between them. `changed` is also the lock of the whole fake."""

    def __init__(
        self, clock: Clock, keys: Callable[[], list[resources.PublicKey]], heartbeat_ms: int
    ) -> None:
        self.changed = Condition()
        self.revision = 0
        self.heartbeats = True
        self._clock = clock
        self._keys = keys
        self._heartbeat_seconds = heartbeat_ms / 1000
        self._events: list[pb.WatchResponse] = []

    def append(self, entry: resources.Revocation) -> int:
        """Number an entry, add it and wake the followers; return its revision."""
        with self.changed:
            self.revision += 1
            entry.revision = self.revision
            self._add(pb.WatchResponse(revocation=entry))
            return self.revision

    def keys_changed(self) -> None:
        """Tell the followers of a new key set."""
        self._add(pb.WatchResponse(key_set=self._key_set()))

    def wait_for(self, revision: int, seconds: float) -> bool:
        """Whether the log is at `revision` or gets there in time."""
        with self.changed:
            return self.changed.wait_for(lambda: self.revision >= revision, max(0, seconds))

    def follow(self, request: pb.WatchRequest, alive: Alive) -> Iterator[pb.WatchResponse]:
        """Yield what a Watch stream says: a snapshot, or the key set if it can go on from the request's revision, then
        all that is new, and heartbeats. Ends when `alive` says so, looked at whenever somebody wakes `changed`."""
        with self.changed:
            place, messages = self._begin(request.from_revision)
        beat_at = monotonic()  # a new follower hears one at once, to measure from
        while alive():
            yield from messages
            with self.changed:
                self.changed.wait_for(
                    lambda: len(self._events) > place or not alive(),  # noqa: B023  called before it changes
                    max(0, beat_at - monotonic()),
                )
                fresh, place = self._events[place:], len(self._events)
                messages = list(_in_batches(fresh)) if request.batches else fresh
                if monotonic() >= beat_at:
                    beat_at = monotonic() + self._heartbeat_seconds
                    messages += [self._heartbeat()] if self.heartbeats else []

    def _begin(self, from_revision: int) -> tuple[int, list[pb.WatchResponse]]:
        """Where a follower begins in the events, and what it is told first."""
        place = self._place_after(from_revision)
        if place is None:
            return len(self._events), [self._snapshot()]
        return place, [pb.WatchResponse(key_set=self._key_set())]

    def _add(self, event: pb.WatchResponse) -> None:
        with self.changed:
            self._events.append(event)
            self.changed.notify_all()

    def _place_after(self, revision: int) -> int | None:
        if not 0 < revision <= self.revision:
            return None
        return 1 + next(
            place for place, event in enumerate(self._events) if event.revocation.revision == revision
        )

    def _snapshot(self) -> pb.WatchResponse:
        now = self._clock()
        entries = [event.revocation for event in self._events if event.HasField("revocation")]
        live = [entry for entry in entries if entry.expire_time.ToMilliseconds() > now]
        snapshot = pb.Snapshot(revision=self.revision, revocations=live, keys=self._keys())
        return pb.WatchResponse(snapshot=snapshot)

    def _key_set(self) -> resources.KeySet:
        keys = self._keys()
        jwks = json.dumps({"keys": [json.loads(key.jwk) for key in keys]})
        return resources.KeySet(keys=keys, jwks=jwks)

    def _heartbeat(self) -> pb.WatchResponse:
        beat = pb.Heartbeat(revision=self.revision, server_time=timestamp(self._clock()))
        return pb.WatchResponse(heartbeat=beat)


def _in_batches(events: Sequence[pb.WatchResponse]) -> Iterator[pb.WatchResponse]:
    """The events, with several revocations in a row as one batch."""
    for is_entries, run in groupby(events, key=lambda event: event.HasField("revocation")):
        together = list(run)
        if is_entries and len(together) > 1:
            batch = pb.RevocationBatch(revocations=[event.revocation for event in together])
            yield pb.WatchResponse(revocation_batch=batch)
        else:
            yield from together
