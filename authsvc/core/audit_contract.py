"""Owns what the rules ask of the audit log, as a Protocol, by the terms of `core.contracts`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from authsvc.core.model import AuditEvent


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Which events to list. What is empty, or None, filters nothing."""

    user_id: str = ""
    session_id: str = ""
    event: str = ""
    start_at: int | None = None
    end_at: int | None = None


class AuditLog(Protocol):
    """Events that change nothing else, such as a failed login, and reading all.

    An event MUST never change, and never go but by `forget`.
    """

    async def record(self, event: AuditEvent) -> None:
        """Write one event."""

    async def list(
        self, wanted: EventFilter, limit: int, before: tuple[int, int] | None
    ) -> Sequence[AuditEvent]:
        """Return events by (happened_at, id) descending, starting below `before`."""

    async def list_after(self, wanted: EventFilter, limit: int, after_id: int) -> Sequence[AuditEvent]:
        """Return events by id, starting above `after_id`. An event may appear after one with a higher id."""

    async def forget(self, before_at: int, limit: int) -> int:
        """Delete at most `limit` of the oldest events from before then; return how many. Of several that run at once,
        each MUST take others, without waiting, where the database can have several writers."""

    async def count(self, before_at: int, limit: int) -> int:
        """Count events from before then, up to `limit`."""
