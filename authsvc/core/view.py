"""Owns the view: the revocations in force, in memory, up to some revision. Leaves keeping it fresh to core.tail.

A question is a dictionary look-up, so it can be asked on every call. An entry may be `apply`-ed ahead of its turn
(an instance's own revocation counts at once); `revision` moves only when nothing before it is missing.
"""

from collections.abc import Iterable, Iterator

from authsvc.core.clock import MINUTE
from authsvc.core.model import LogPosition, Revocation, Subject


class View:
    """The set of live revocations as of `revision`, and when the log was last read (`fresh_at`, monotonic ms)."""

    def __init__(self) -> None:
        self.revision = 0
        self.fresh_at = 0
        self._sessions: dict[str, int] = {}
        self._due: dict[int, list[str]] = {}
        self._keys: dict[str, int] = {}
        self._users: dict[str, Revocation] = {}
        self._everyone: Revocation | None = None

    def __len__(self) -> int:
        return len(self._sessions) + len(self._users) + len(self._keys) + (self._everyone is not None)

    def revokes(self, session_id: str, user_id: str, issued_at: int) -> bool:
        """Whether something issued at `issued_at` (ms) for this session of this user is no longer to be believed."""
        if session_id in self._sessions:
            return True
        if not self._users and self._everyone is None:
            return False
        return _before(self._users.get(user_id), issued_at) or _before(self._everyone, issued_at)

    def revokes_key(self, key_id: str) -> bool:
        """Whether the signing key is distrusted."""
        return key_id in self._keys

    def apply(self, entry: Revocation) -> None:
        """Let one entry count. Applying one twice, or out of turn, does no harm."""
        match entry.subject:
            case Subject.SESSION:
                self._apply_session(entry.subject_id, entry.expires_at)
            case Subject.KEY:
                self._keys[entry.subject_id] = entry.expires_at
            case Subject.USER:
                self._users[entry.subject_id] = _later(self._users.get(entry.subject_id), entry)
            case Subject.EVERYONE:
                self._everyone = _later(self._everyone, entry)

    def advance(self, entries: Iterable[Revocation]) -> None:
        """Apply the next entries of the log, in order and without a gap, and move `revision` to the last."""
        for entry in entries:
            self.apply(entry)
            self.revision = max(self.revision, entry.revision)

    def restart(self, position: LogPosition) -> None:
        """Take up following the log at `position`. What had been applied still counts."""
        self.revision = max(self.revision, position.revision)

    def forget_expired(self, now: int) -> int:
        """Drop entries that forbid nothing any more; return how many."""
        before = len(self)
        for minute in [minute for minute in self._due if (minute + 1) * MINUTE <= now]:
            for session_id in self._due.pop(minute):
                if self._sessions.get(session_id, now) < now:
                    del self._sessions[session_id]
        self._keys = {key: at for key, at in self._keys.items() if at > now}
        self._users = {key: entry for key, entry in self._users.items() if entry.expires_at > now}
        if self._everyone is not None and self._everyone.expires_at <= now:
            self._everyone = None
        return before - len(self)

    def _apply_session(self, session_id: str, expires_at: int) -> None:
        """Sessions are many, so those that expire in the same minute are found together when it has passed."""
        if self._sessions.get(session_id, -1) < expires_at:
            self._sessions[session_id] = expires_at
            self._due.setdefault(expires_at // MINUTE, []).append(session_id)

    def entries(self) -> Iterator[Revocation]:
        """Yield what is in force now. Session and key entries come with revision 0: their number no longer matters."""
        # The ids alone are copied: of a million sessions that takes milliseconds, and an expiry only ever grows.
        for session_id in list(self._sessions):
            if expires_at := self._sessions.get(session_id):
                yield Revocation(0, Subject.SESSION, session_id, None, expires_at)
        for key_id, expires_at in list(self._keys.items()):
            yield Revocation(0, Subject.KEY, key_id, None, expires_at)
        yield from list(self._users.values())
        if self._everyone is not None:
            yield self._everyone


def _before(entry: Revocation | None, issued_at: int) -> bool:
    return entry is not None and issued_at < (entry.issued_before_at or 0)


def _later(known: Revocation | None, entry: Revocation) -> Revocation:
    if known is None or (known.issued_before_at or 0) <= (entry.issued_before_at or 0):
        return entry
    return known
