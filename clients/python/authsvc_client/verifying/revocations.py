"""Owns what is revoked, as far as this process knows. Leaves hearing of it to `authsvc_client.watching`.

Questions are asked on every request, from any thread, and take no lock: each part is replaced or set in one step.
Writers (one watcher, as a rule) take turns.

What was revoked stays revoked until its entry expires, whatever a server says later: a snapshot adds, it never takes
away, so an answer from an older backup brings nothing back.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable
from contextlib import suppress
from enum import Enum
from threading import Event, Lock
from typing import Final, NamedTuple

from authsvc_client.clock import Clock, monotonic_clock, wall_clock
from authsvc_client.strict import AccessToken
from authsvc_client.verifying.expiring_ids import ExpiringIds

NEVER_HEARD_MS: Final = 2**62
"""The age of a view that nothing has been heard for."""

# Entries are kept this much longer, in case this host's clock is ahead.
_CLOCK_MARGIN_MS: Final = 60_000
# A call of `forget_expired` looks at this many parts of 4,096: milliseconds of work even at 1,000,000 entries.
_SWEPT_PARTS: Final = 64

_log = logging.getLogger("authsvc_client")

Callback = Callable[[frozenset[str] | None], None]


class Subject(Enum):
    """What a revocation forbids: a session, all a user was issued before a time, a key, all issued before a time."""

    SESSION = "session"
    USER = "user"
    KEY = "key"
    EVERYONE = "everyone"


class Revocation(NamedTuple):
    """One entry. Times are Unix ms; `issued_before_at` counts for USER and EVERYONE, whose `subject_id` may be ""."""

    subject: Subject
    subject_id: str
    expires_at: int
    issued_before_at: int = 0


class RevisionNotReached(Exception):
    """The view did not reach the revision in time: not knowing, which is not the same as refusing."""


class _Before(NamedTuple):
    issued_before_at: int
    expires_at: int


class Revocations:
    """The view: live revocations up to `revision`, and how long ago they were known to be complete."""

    def __init__(self, *, clock: Clock = wall_clock, monotonic: Clock = monotonic_clock) -> None:
        self._clock = clock
        self._monotonic = monotonic
        self._writing = Lock()
        self._sessions = ExpiringIds()
        self._other_sessions: dict[str, int] = {}
        self._keys: dict[str, int] = {}
        self._users: dict[str, _Before] = {}
        self._everyone: _Before | None = None
        self._revision = 0
        self._heard_at: int | None = None
        self._callbacks: tuple[Callback, ...] = ()
        self._waiting: tuple[Callable[[], None], ...] = ()

    @property
    def revision(self) -> int:
        """The last entry of the log that counts here; 0 before the first snapshot."""
        return self._revision

    def __len__(self) -> int:
        """How many entries are held."""
        everyone = self._everyone is not None
        return len(self._sessions) + len(self._other_sessions) + len(self._keys) + len(self._users) + everyone

    def age_ms(self) -> int:
        """How long ago the view was last known to be complete. NEVER_HEARD_MS before the first time."""
        heard_at = self._heard_at
        return NEVER_HEARD_MS if heard_at is None else self._monotonic() - heard_at

    def revokes(self, token: AccessToken) -> bool:
        """Whether the token is no longer to be believed: its session, its key, its user or everyone was revoked."""
        if self.revokes_session(token.session_id) or token.key_id in self._keys:
            return True
        if not self._users and self._everyone is None:
            return False
        issued_at = token.issued_at
        return _covers(self._users.get(token.subject), issued_at) or _covers(self._everyone, issued_at)

    def revokes_session(self, session_id: str) -> bool:
        """Whether the session itself was revoked."""
        sessions = self._sessions
        return (len(sessions) > 0 and session_id in sessions) or session_id in self._other_sessions

    def apply(self, entries: Iterable[Revocation], *, tell: bool = True) -> None:
        """Let entries count, at once; then `tell` those who subscribed. Applying one twice does no harm."""
        with self._writing:
            applied = [self._apply(entry) for entry in entries]
        if tell and applied:
            ids = frozenset(session_id for session_id in applied if session_id is not None)
            self._tell(ids if None not in applied else None)

    def reach(self, revision: int, *, snapshot: bool = False) -> None:
        """All entries up to `revision` have been applied. A `snapshot` also asks all who subscribed to check everything
        again; it alone may lower the revision, where another instance lags or the log was restored."""
        self._revision = revision if snapshot else max(revision, self._revision)
        if snapshot:
            self._tell(None)
        for wake in self._waiting:
            wake()

    def heard(self, delay_ms: int = 0) -> None:
        """The view was complete `delay_ms` ago: nothing was missing up to `revision`."""
        self._heard_at = self._monotonic() - delay_ms

    def forget_expired(self) -> None:
        """Drop entries that forbid nothing any more. Cheap: each call looks at a part of them, all are seen in 64."""
        now = self._clock() - _CLOCK_MARGIN_MS
        with self._writing:
            self._sessions.sweep(now, _SWEPT_PARTS)
            if self._other_sessions:
                self._other_sessions = {id_: at for id_, at in self._other_sessions.items() if at >= now}
            self._keys = {id_: at for id_, at in self._keys.items() if at >= now}
            self._users = {id_: before for id_, before in self._users.items() if before.expires_at >= now}
            if self._everyone is not None and self._everyone.expires_at < now:
                self._everyone = None

    def subscribe(self, callback: Callback) -> Callable[[], None]:
        """Have `callback` called with the ids of sessions just revoked, or None to check everything again.

        It runs on the watcher's thread or loop and must neither block nor raise. Returns how to unsubscribe.
        """
        with self._writing:
            self._callbacks = (*self._callbacks, callback)

        def unsubscribe() -> None:
            with self._writing:
                self._callbacks = tuple(each for each in self._callbacks if each is not callback)

        return unsubscribe

    async def wait_for_revision(self, revision: int, timeout_ms: int) -> None:
        """Return once the view is at least at `revision`. Raises RevisionNotReached after `timeout_ms`."""
        if self._revision >= revision:
            return
        loop, woken = asyncio.get_running_loop(), asyncio.Event()
        wake = _waker(loop, woken)
        self._add_waiting(wake)
        try:
            async with asyncio.timeout(timeout_ms / 1000):
                while self._revision < revision:
                    await woken.wait()
                    woken.clear()
        except TimeoutError:
            raise RevisionNotReached from None
        finally:
            self._remove_waiting(wake)

    def wait_for_revision_sync(self, revision: int, timeout_ms: int) -> None:
        """Like `wait_for_revision`, blocking this thread."""
        if self._revision >= revision:
            return
        deadline, woken = monotonic_clock() + timeout_ms, Event()
        wake = woken.set
        self._add_waiting(wake)
        try:
            while self._revision < revision:
                if not woken.wait(max(0, deadline - monotonic_clock()) / 1000):
                    raise RevisionNotReached
                woken.clear()
        finally:
            self._remove_waiting(wake)

    def _apply(self, entry: Revocation) -> str | None:
        """Let one entry count; return its session's id, None for anything that is not a session."""
        match entry.subject:
            case Subject.SESSION:
                if not self._sessions.add(entry.subject_id, entry.expires_at):
                    known = self._other_sessions.get(entry.subject_id, 0)
                    self._other_sessions[entry.subject_id] = max(known, entry.expires_at)
                return entry.subject_id
            case Subject.KEY:
                self._keys[entry.subject_id] = max(self._keys.get(entry.subject_id, 0), entry.expires_at)
            case Subject.USER:
                self._users[entry.subject_id] = _widened(self._users.get(entry.subject_id), entry)
            case Subject.EVERYONE:
                self._everyone = _widened(self._everyone, entry)
        return None

    def _tell(self, session_ids: frozenset[str] | None) -> None:
        for callback in self._callbacks:
            try:
                callback(session_ids)
            except Exception:  # noqa: BLE001  one who cannot listen must not keep the others from hearing
                _log.exception("a subscriber to revocations failed")

    def _add_waiting(self, wake: Callable[[], None]) -> None:
        with self._writing:
            self._waiting = (*self._waiting, wake)

    def _remove_waiting(self, wake: Callable[[], None]) -> None:
        with self._writing:
            self._waiting = tuple(each for each in self._waiting if each is not wake)


def _covers(before: _Before | None, issued_at: int) -> bool:
    return before is not None and issued_at < before.issued_before_at


def _widened(known: _Before | None, entry: Revocation) -> _Before:
    if known is None:
        return _Before(entry.issued_before_at, entry.expires_at)
    return _Before(
        max(known.issued_before_at, entry.issued_before_at), max(known.expires_at, entry.expires_at)
    )


def _waker(loop: asyncio.AbstractEventLoop, woken: asyncio.Event) -> Callable[[], None]:
    def wake() -> None:
        with suppress(RuntimeError):  # the loop has closed meanwhile
            loop.call_soon_threadsafe(woken.set)

    return wake
