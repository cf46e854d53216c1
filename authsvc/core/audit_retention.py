"""Owns forgetting audit events that are older than they are kept for. Leaves deleting to the audit log.

Every instance does this: of two at once each deletes what the other does not. A batch is small, so that it holds up
nobody for long, and pauses come between batches.
"""

import asyncio
from contextlib import suppress

from authsvc.core.audit_contract import AuditLog
from authsvc.core.clock import Clock
from authsvc.core.contracts import StoreUnavailable

BATCH = 500
_EVERY_SECONDS = 60.0
_PAUSE_SECONDS = 0.1


class AuditRetention:
    """Keeps events for `kept_ms`; 0: for ever."""

    def __init__(self, audit: AuditLog, kept_ms: int, clock: Clock) -> None:
        self._audit = audit
        self._kept_ms = kept_ms
        self._clock = clock

    async def step(self) -> bool:
        """Forget one batch. Say whether there may be more. Raises StoreUnavailable."""
        if not self._kept_ms:
            return False
        return await self._audit.forget(self._clock() - self._kept_ms, BATCH) == BATCH

    async def run(self) -> None:
        """Each minute forget what is due, until cancelled."""
        while True:
            pause = _EVERY_SECONDS
            with suppress(StoreUnavailable):
                if await self.step():
                    pause = _PAUSE_SECONDS
            await asyncio.sleep(pause)
