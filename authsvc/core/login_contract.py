"""Owns what the rules of logging in ask of the stores. Leaves the general terms of store contracts to `core.contracts`.

Attempts are counted twice: in the cache, before anything else is done, and failures in SQL, which loses nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from authsvc.core.model import AuditEvent, UserSecret


@dataclass(frozen=True, slots=True)
class ThrottleKey:
    """One counter: at `limit` failures within `window_ms` the back-off begins, from 1 s, doubling up to
    `longest_wait_ms` (0: the window).

    A success takes back its own attempt. What is `forgotten_on_success` goes whole, and from counters of which
    `mistakes_are_forgiven` as many attempts are taken back as those had held.
    """

    name: str
    limit: int
    window_ms: int
    forgotten_on_success: bool = False
    mistakes_are_forgiven: bool = False
    longest_wait_ms: int = 0

    @property
    def longest_ms(self) -> int:
        """The longest wait."""
        return self.longest_wait_ms or self.window_ms


class LoginThrottle(Protocol):
    """Counts login attempts. Charged before the password is checked, so that concurrent guesses cannot slip by."""

    async def hit(self, keys: Sequence[ThrottleKey], now: int) -> int:
        """Charge one attempt to every key, in one round trip. 0: go on. Else milliseconds to wait; then nothing is
        charged. From the limit on each further failure doubles the wait."""

    async def succeed(self, keys: Sequence[ThrottleKey]) -> int:
        """Settle an attempt that succeeded, in one round trip. Return how many attempts were forgotten, at least 1: the
        user's own mistakes and this one."""


@dataclass(frozen=True, slots=True)
class FailureLimits:
    """How failures in SQL are counted: those of minutes and those of a day, each as a ThrottleKey says."""

    recent: ThrottleKey
    daily: ThrottleKey


@dataclass(frozen=True, slots=True)
class Failures:
    """Failed logins on record, of which nothing is forgotten yet. `blocked_until` is 0 below the limits."""

    recent: int = 0
    daily: int = 0
    blocked_until: int = 0


NO_FAILURES = Failures()


class LoginStore(Protocol):
    """What a login reads and writes in SQL. `counter` is a digest of what failures are counted by."""

    async def get(self, username_key: str, counter: bytes, now: int) -> tuple[UserSecret | None, Failures]:
        """Return the user, disabled or not, and the failures on record, in one round trip."""

    async def fail(self, counter: bytes, limits: FailureLimits, now: int, audit: AuditEvent) -> None:
        """Count one failure, whatever is counted at the same time, and write the event."""

    async def take(self, counter: bytes, limits: FailureLimits, now: int) -> bool:
        """Count one failure unless there is a block at `now`. MUST be one conditional statement: when it makes a block,
        of any number at the same time one returns True."""

    async def forgive(self, counter: bytes, limits: FailureLimits, times: int) -> None:
        """Take so many failures back. What is still at its limit stays blocked."""
