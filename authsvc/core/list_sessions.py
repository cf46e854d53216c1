"""Owns listing a user's sessions, for the user and for admins."""

from collections.abc import Sequence
from dataclasses import dataclass

from authsvc.core.callers import Caller
from authsvc.core.clock import Clock
from authsvc.core.contracts import SessionStore
from authsvc.core.errors import CallerNotPermitted, CredentialsMissing, InvalidRequest
from authsvc.core.ids import is_id
from authsvc.core.model import Permission, Session
from authsvc.core.paging import page_size, page_token, read_page_token


@dataclass(frozen=True, slots=True)
class SessionPage:
    """Sessions, newest first, and the token of the next page (empty on the last)."""

    sessions: Sequence[Session]
    next_page_token: str


class ListSessions:
    """Lists sessions."""

    def __init__(self, sessions: SessionStore, clock: Clock) -> None:
        self._sessions = sessions
        self._clock = clock

    async def list(
        self, caller: Caller, user_id: str, size: int, token: str, include_ended: bool
    ) -> SessionPage:
        """Return a page. Raises CallerNotPermitted, CredentialsMissing, InvalidRequest, StoreUnavailable."""
        whose = _whose(caller, user_id)
        limit = page_size(size)
        before = _read_place(token)
        live_at = None if include_ended else self._clock()
        found = await self._sessions.list_user(whose, limit + 1, before, live_at)
        last = found[limit - 1] if len(found) > limit else None
        return SessionPage(found[:limit], page_token(str(last.created_at), last.id) if last else "")


def _whose(caller: Caller, user_id: str) -> str:
    if not caller.is_known:
        raise CredentialsMissing
    if not caller.user_id and not caller.has(Permission.ADMIN):
        raise CallerNotPermitted
    whose = user_id or caller.user_id
    if not is_id(whose):
        raise InvalidRequest(("user_id", "must be the id of a user"))
    if whose != caller.user_id and not caller.has(Permission.ADMIN):
        raise CallerNotPermitted
    return whose


def _read_place(token: str) -> tuple[int, str] | None:
    if not token:
        return None
    created_at, session_id = read_page_token(token, parts=2)
    if not created_at.isdecimal() or len(created_at) > 15 or not is_id(session_id):
        raise InvalidRequest(("page_token", "is not one that this service gave"))
    return int(created_at), session_id
