"""Owns the write-behind of `seen_at`: which sessions were seen since SQL last heard. Leaves writing to the store.

What is lost with a crash is at most a quarter of an idle time per session: it may end early, never late.
"""

import asyncio
from contextlib import suppress

from authsvc.core.contracts import SessionStore, StoreUnavailable

FLUSH_EVERY_SECONDS = 1.0
_BATCH = 1_000
_BOUND = 100_000


class LastSeen:
    """Gathers what was seen and writes it in batches."""

    def __init__(self, store: SessionStore) -> None:
        self._store = store
        self._seen: dict[str, int] = {}

    def note(self, session_id: str, now: int) -> None:
        """Remember that the session was seen. When 100,000 wait already, forget instead: SQL must be down."""
        if len(self._seen) < _BOUND:
            self._seen[session_id] = now

    @property
    def waiting(self) -> int:
        """How many sessions were seen and not yet written."""
        return len(self._seen)

    async def flush(self) -> None:
        """Write what waits. Raises StoreUnavailable, and then it waits on."""
        while self._seen:
            batch = dict(list(self._seen.items())[:_BATCH])
            await self._store.touch(batch)
            for session_id, seen_at in batch.items():
                if self._seen.get(session_id) == seen_at:
                    del self._seen[session_id]

    async def run(self) -> None:
        """Flush every second until cancelled."""
        while True:
            await asyncio.sleep(FLUSH_EVERY_SECONDS)
            with suppress(StoreUnavailable):
                await self.flush()
