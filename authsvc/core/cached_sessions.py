"""Owns how a session is written into the cache and read back. Leaves keys, times and the cache itself to the stores.

A body is a line of what every validation asks for, and then the session as answers show it, ready to send. A validation
hands that on unread; taking every field out of the cache and putting it into the answer again took three times as long.
Only what never changes while a session lives is in it: the idle deadline is the cache's own.
"""

from dataclasses import replace
from typing import Protocol

from authsvc.core.contracts import CachedSession
from authsvc.core.model import Session


class Showing(Protocol):
    """How answers show a session. authsvc.rpc gives it; the rules hand on what it writes."""

    def write(self, session: Session) -> bytes:
        """Return everything that can be shown of a session, but when it was last seen and when it ends unless used."""

    def read(self, shown: bytes) -> Session:
        """Return the session; `seen_at` and the idle times, which are not in it, are 0 or None."""


class LiveSession:
    """An active session as of this validation. `shown` is all of it that does not change, as answers show it."""

    __slots__ = ("_idle_ms", "_showing", "created_at", "id", "idle_expires_at", "shown", "user_id")

    def __init__(self, body: bytes, idle_expires_at: int, showing: Showing) -> None:
        line, _, self.shown = body.partition(b"\n")
        self.id, self.user_id, created_at, idle_ms = line.decode().split(" ")
        self.created_at = int(created_at)
        self.idle_expires_at = idle_expires_at
        self._idle_ms = int(idle_ms)
        self._showing = showing

    @property
    def seen_at(self) -> int:
        """When it was last validated, as the idle deadline tells."""
        return self.idle_expires_at - self._idle_ms

    @property
    def session(self) -> Session:
        """The whole of it, read anew."""
        session = self._showing.read(self.shown)
        return replace(session, seen_at=self.seen_at, session_idle_ms=self._idle_ms)


class CachedForm:
    """Writes sessions as the cache keeps them, and reads them."""

    def __init__(self, showing: Showing) -> None:
        self._showing = showing

    def write(self, session: Session, seen_at: int, flushed_at: int) -> CachedSession:
        """Return the session last seen at `seen_at`, of which SQL knows `flushed_at`. It must have a session token."""
        expires_at = session.session_expires_at or 0
        line = f"{session.id} {session.user_id} {session.created_at} {session.session_idle_ms}\n"
        return CachedSession(
            body=line.encode() + self._showing.write(session),
            idle_expires_at=min(seen_at + session.session_idle_ms, expires_at),
            idle_ms=session.session_idle_ms,
            expires_at=expires_at,
            flushed_at=flushed_at,
        )

    def read(self, body: bytes, idle_expires_at: int) -> LiveSession:
        """Return the session in a body that `write` wrote, with the idle deadline that the cache knows."""
        return LiveSession(body, idle_expires_at, self._showing)
