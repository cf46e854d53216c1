"""Owns what a user may see of the audit log: what happened to their own account, and nothing of anybody else.

An administrator, a client or the service itself may have acted on the account: the user is told what they did and why,
not from where.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from authsvc.core.audit_contract import EventFilter
from authsvc.core.callers import Caller, calling_user
from authsvc.core.list_audit_events import ListAuditEvents
from authsvc.core.model import AuditEvent, Device

# Asked for by somebody who said that they were the user: where from is what the user wants to know.
_CLAIMED = ("login.", "token.", "recovery_code.used", "second_factor.failed", "second_factor.throttled")


@dataclass(frozen=True, slots=True)
class SecurityEvents:
    """Events of one user, newest first, and the token of the next page (empty on the last)."""

    events: Sequence[AuditEvent]
    next_page_token: str


class ListSecurityEvents:
    """Lists a user's own events, but not every renewal of a token."""

    def __init__(self, audit_events: ListAuditEvents) -> None:
        self._audit_events = audit_events

    async def list(self, caller: Caller, size: int, token: str) -> SecurityEvents:
        """Return a page. Raises CredentialsMissing, CallerNotPermitted, InvalidRequest, StoreUnavailable."""
        user_id = calling_user(caller)
        page = await self._audit_events.list(EventFilter(user_id=user_id, rare=True), size, token)
        return SecurityEvents([_shown(event) for event in page.events], page.next_page_token)


def _shown(event: AuditEvent) -> AuditEvent:
    if event.actor == event.user_id or event.event.startswith(_CLAIMED):
        return event
    return replace(event, actor="", client_id="", device=Device())
