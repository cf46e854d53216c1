"""Owns listing the audit log in pages, and following it. Leaves who may to the policy, writing to each rule."""

from collections.abc import Sequence
from dataclasses import dataclass

from authsvc.core.audit_contract import AuditLog, EventFilter
from authsvc.core.errors import InvalidRequest
from authsvc.core.model import AuditEvent
from authsvc.core.paging import page_size, page_token, read_page_token

_LARGEST_NUMBER = 2**63 - 1


@dataclass(frozen=True, slots=True)
class EventPage:
    """Events, and the token of the next page (empty on the last)."""

    events: Sequence[AuditEvent]
    next_page_token: str


class ListAuditEvents:
    """Lists events."""

    def __init__(self, audit: AuditLog) -> None:
        self._audit = audit

    async def list(self, wanted: EventFilter, size: int, token: str) -> EventPage:
        """Return a page, newest first. A page goes on exactly below the one before, whatever is written meanwhile.
        Raises InvalidRequest, StoreUnavailable."""
        limit = page_size(size)
        found = await self._audit.list(wanted, limit + 1, _read_place(token))
        last = found[limit - 1] if len(found) > limit else None
        return EventPage(found[:limit], page_token(str(last.happened_at), str(last.id)) if last else "")

    async def follow(self, wanted: EventFilter, size: int, after_id: int) -> EventPage:
        """Return the events numbered next above `after_id`. Raises InvalidRequest, StoreUnavailable."""
        limit = page_size(size)
        if after_id < 0:
            raise InvalidRequest(("after_id", "must not be negative"))
        return EventPage(await self._audit.list_after(wanted, limit, after_id), "")


def _read_place(token: str) -> tuple[int, int] | None:
    if not token:
        return None
    happened_at, number = read_page_token(token, parts=2)
    return _number(happened_at), _number(number)


def _number(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= 19 and int(text) <= _LARGEST_NUMBER):
        raise InvalidRequest(("page_token", "is not one that this service gave"))
    return int(text)
