"""Owns snapshots for followers of Watch: encoded part by part, once for all who ask at about the same time.

Leaves what comes after to `watch`. No part takes the event loop for more than a few milliseconds, however large the
view.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from itertools import islice

from authsvc.core.model import Revocation
from authsvc.rpc import convert
from authsvc.rpc.services import Services
from authsvc.v1 import auth_service_pb2 as pb

SNAPSHOT_PART = 500
# How long a snapshot is shared: followers whose streams broke together come back within seconds.
SHARED_SECONDS = 10


class Snapshot:
    """The view as it was when the feed stood at `place`."""

    def __init__(self, services: Services) -> None:
        self.place = services.feed.end
        self._keys = services.keys
        self._revision = services.view.revision
        self._entries = services.view.entries()
        self._encoding = self._encode()
        self._parts: list[bytes] = []

    async def parts(self) -> AsyncIterator[bytes]:
        """Yield the parts as encoded WatchResponses; whoever is ahead of the others encodes the next."""
        at = 0
        while part := self._part(at):
            yield part
            at += 1
            await asyncio.sleep(0)

    def _part(self, at: int) -> bytes | None:
        if at == len(self._parts) and (part := next(self._encoding, None)):
            self._parts.append(part)
        return self._parts[at] if at < len(self._parts) else None

    def _encode(self) -> Iterator[bytes]:
        part = list(islice(self._entries, SNAPSHOT_PART))
        while following := list(islice(self._entries, SNAPSHOT_PART)):
            yield self._encode_part(part, partial=True)
            part = following
        yield self._encode_part(part, partial=False)

    def _encode_part(self, entries: list[Revocation], partial: bool) -> bytes:
        snapshot = pb.Snapshot(
            revision=self._revision,
            revocations=map(convert.revocation_message, entries),
            keys=() if partial else convert.public_keys(self._keys.ring),
            partial=partial,
        )
        return pb.WatchResponse(snapshot=snapshot).SerializeToString()


class Snapshots:
    """Makes snapshots, no more often than needed."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._shared: Snapshot | None = None

    def current(self) -> Snapshot:
        """A snapshot that the feed can be followed on from."""
        shared = self._shared
        if shared is None or self._services.feed.read(shared.place, 1) is None:
            shared = self._shared = Snapshot(self._services)
            asyncio.get_running_loop().call_later(SHARED_SECONDS, self._forget, shared)
        return shared

    def _forget(self, snapshot: Snapshot) -> None:
        if self._shared is snapshot:
            self._shared = None
