"""Owns putting on record that a token of a session was used after the session had ended: by somebody who has not heard,
or by somebody who should not have it.

Off the path of the call, which only leaves a note, and rationed, so that nobody can flood the log: an instance looks at
a session once an hour, and of several instances the first has the event.
"""

import asyncio
from contextlib import suppress

from authsvc.core.audit_contract import AuditLog
from authsvc.core.clock import HOUR, Clock
from authsvc.core.contracts import SessionStore, StoreUnavailable
from authsvc.core.model import AuditEvent, Session
from authsvc.core.rationing import Ration

EVERY = HOUR
_PAUSE_SECONDS = 1.0
_A_TURN = 50  # SQL is not to notice
_WAITING = 1_000


class LateUses:
    """Notes late uses, and writes them down later."""

    def __init__(self, sessions: SessionStore, audit: AuditLog, clock: Clock) -> None:
        self._sessions = sessions
        self._audit = audit
        self._clock = clock
        self._ration = Ration(EVERY, clock)
        self._waiting: list[tuple[bytes | Session, int]] = []

    def note(self, what: bytes | Session) -> None:
        """Take note of a late use: of a session token, by its hash, or of another token, with its session.

        Whether the hash is of a session at all is looked up later. When 1,000 wait already, nothing is noted.
        """
        key = what.id if isinstance(what, Session) else what
        if len(self._waiting) < _WAITING and self._ration.lets(key):
            self._waiting.append((what, self._clock()))

    async def flush(self) -> None:
        """Write down some of what waits. Raises StoreUnavailable, and then it waits on."""
        for what, used_at in self._waiting[:_A_TURN]:
            await self._write(what, used_at)
            del self._waiting[0]

    async def run(self) -> None:
        """Flush every second until cancelled."""
        while True:
            await asyncio.sleep(_PAUSE_SECONDS)
            with suppress(StoreUnavailable):
                await self.flush()

    async def _write(self, what: bytes | Session, used_at: int) -> None:
        if isinstance(what, Session):
            await self._record(what, "refresh token", used_at)
            return
        session = await self._sessions.get_by_session_hash(what)
        if session is not None and not session.session_is_live(used_at):
            await self._record(session, "session token", used_at)

    async def _record(self, session: Session, token: str, used_at: int) -> None:
        ended = f"revoked ({session.revoke_reason.value})" if session.revoke_reason else "expired"
        event = AuditEvent(
            "session.used_after_end",
            used_at,
            actor="nobody",
            user_id=session.user_id,
            session_id=session.id,
            client_id=session.client_id,
            reason=f"{token}: {ended}",
        )
        await self._audit.record_once(event, used_at - EVERY)
