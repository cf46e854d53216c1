"""Owns forgetting audit events that are older than they are kept for: a chore of core.housekeeping. Leaves deleting to
the audit log.
"""

from authsvc.core.audit_contract import AuditLog
from authsvc.core.clock import Clock
from authsvc.core.housekeeping import BATCH, COUNTED_AT_MOST


class AuditRetention:
    """Keeps events for `kept_ms`; 0: for ever."""

    name = "audit"

    def __init__(self, audit: AuditLog, kept_ms: int, clock: Clock) -> None:
        self._audit = audit
        self._kept_ms = kept_ms
        self._clock = clock

    async def step(self) -> int | None:
        """Forget one batch; see core.housekeeping.Chore."""
        if not self._kept_ms:
            return None
        return await self._audit.forget(self._clock() - self._kept_ms, BATCH) or None

    async def backlog(self) -> int:
        """Count what is due; see core.housekeeping.Chore."""
        if not self._kept_ms:
            return 0
        return await self._audit.count(self._clock() - self._kept_ms, COUNTED_AT_MOST)
