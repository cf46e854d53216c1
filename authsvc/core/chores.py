"""Owns what is over and may go: ended sessions, and entries of the revocation log that forbid nothing any more.

Leaves when to clean up to core.housekeeping, audit events to core.audit_retention.

An ended session is kept for a while: to be listed, explained, and named in the audit log. Refusing its tokens does not
need it, as what is not on record is not active. Nor does telling theft: that needs the sessions that still live.

An entry of the log may go once everything it forbids has expired. Whoever follows the log and meets the gap begins
again from a snapshot, where the entry would not be either; the slack is for those that were only slow.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from authsvc.core.clock import HOUR, Clock
from authsvc.core.contracts import SessionCache
from authsvc.core.housekeeping import BATCH, COUNTED_AT_MOST

ENTRY_SLACK_MS = HOUR


@dataclass(frozen=True, slots=True)
class DueSession:
    """A session to be looked at. `over_at`: when it ended, or will if it is not used. `is_idle`: its session token is
    within its absolute deadline and not revoked, so that the cache may still hold it."""

    id: str
    over_at: int
    session_hash: bytes | None = field(repr=False)
    is_idle: bool


class HousekeepingStore(Protocol):
    """Sessions and entries, looked at by when they are over. Rows that somebody else holds MUST NOT be waited for."""

    async def due_sessions(self, before_at: int, limit: int) -> Sequence[DueSession]:
        """Return at most so many sessions that were thought to be over before then, the longest over first."""

    async def settle_sessions(self, forgotten: Sequence[str], kept: Sequence[str], before_at: int) -> None:
        """Delete of `forgotten` those that are over since before then, and note of `kept` when they will be over."""

    async def count_sessions(self, before_at: int, limit: int) -> int:
        """Count sessions thought to be over before then, up to `limit`."""

    async def forget_entries(self, before_at: int, limit: int) -> int:
        """Delete at most so many entries of the log that expired before then, the oldest first; return how many."""

    async def count_entries(self, before_at: int, limit: int) -> int:
        """Count entries of the log that expired before then, up to `limit`."""


class EndedSessions:
    """Removes sessions `kept_ms` after they ended."""

    name = "sessions"

    def __init__(self, store: HousekeepingStore, cache: SessionCache, kept_ms: int, clock: Clock) -> None:
        self._store = store
        self._cache = cache
        self._kept_ms = kept_ms
        self._clock = clock

    async def step(self) -> int | None:
        """Settle one batch; see core.housekeeping.Chore."""
        before_at = self._clock() - self._kept_ms
        due = await self._store.due_sessions(before_at, BATCH)
        if not due:
            return None
        over = [session for session in due if session.over_at < before_at]
        # SQL may have missed that one was used. It goes from the cache first, so that none lives on off the record.
        cached = [session.session_hash for session in over if session.is_idle and session.session_hash]
        if cached:
            await self._cache.end(cached)
        kept = [session.id for session in due if session.over_at >= before_at]
        await self._store.settle_sessions([session.id for session in over], kept, before_at)
        return len(over)

    async def backlog(self) -> int:
        """Count what is due; see core.housekeeping.Chore."""
        return await self._store.count_sessions(self._clock() - self._kept_ms, COUNTED_AT_MOST)


class ExpiredEntries:
    """Removes entries of the revocation log once nothing that they forbid can be alive."""

    name = "revocations"

    def __init__(self, store: HousekeepingStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def step(self) -> int | None:
        """Settle one batch; see core.housekeeping.Chore."""
        return await self._store.forget_entries(self._clock() - ENTRY_SLACK_MS, BATCH) or None

    async def backlog(self) -> int:
        """Count what is due; see core.housekeeping.Chore."""
        return await self._store.count_entries(self._clock() - ENTRY_SLACK_MS, COUNTED_AT_MOST)
