"""Owns how long things live: the settings and the deadlines that follow. Leaves judging them to each operation."""

from dataclasses import dataclass

from authsvc.core.clock import DAY, HOUR, MINUTE, SECOND

ACCESS_TTL_CAP = 15 * MINUTE
LEEWAY = 15 * SECOND
# How long a revocation entry must outlive its revocation: the longest access token, the verifiers' leeway, and a
# minute for clocks that disagree.
REVOCATION_GRACE = ACCESS_TTL_CAP + LEEWAY + MINUTE


@dataclass(frozen=True, slots=True)
class Lifetimes:
    """Idle and absolute lifetimes in milliseconds. `remember_…` replaces `session_…` for "stay logged in"."""

    session_idle_ms: int = 30 * MINUTE
    session_ms: int = 12 * HOUR
    remember_idle_ms: int = 14 * DAY
    remember_ms: int = 90 * DAY
    refresh_idle_ms: int = 30 * DAY
    refresh_ms: int = 90 * DAY
    access_ms: int = 5 * MINUTE

    def session(self, remember: bool) -> tuple[int, int]:
        """Return (idle, absolute) of a session token."""
        if remember:
            return self.remember_idle_ms, self.remember_ms
        return self.session_idle_ms, self.session_ms

    def are_remembered(self, idle_ms: int) -> bool:
        """Whether a session with this idle lifetime has the long profile."""
        return idle_ms == self.remember_idle_ms != self.session_idle_ms
