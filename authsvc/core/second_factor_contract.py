"""Owns what the rules ask of the store of second factors, as a Protocol, by the terms of `core.contracts`.

Guesses of a code are counted in SQL, so that no cache's loss gives anybody new ones. After `FREE_GUESSES` wrong ones
in a row each further one has to wait, longer and longer; after `GUESSES_MAX` there are none, until the user succeeds
(with a recovery code), gets a new password, or is reset by an administrator (NIST SP 800-63B-4 §3.2.2).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from authsvc.core.clock import HOUR, MINUTE, SECOND
from authsvc.core.model import AuditEvent

FREE_GUESSES = 5
# From so many wrong guesses in a row on, how long until the next one.
WAITS = ((FREE_GUESSES, 30 * SECOND), (10, 5 * MINUTE), (20, HOUR))
GUESSES_MAX = 100


@dataclass(frozen=True, slots=True)
class SecondFactor:
    """A user's second factor.

    `sealed_secret` is in force since `confirmed_at`; both are None while none is. `pending_secret` waits to be
    confirmed since `pending_at`. `last_step` is the newest time step of which a code was accepted.
    """

    user_id: str
    sealed_secret: bytes | None = field(repr=False)
    confirmed_at: int | None
    last_step: int
    pending_secret: bytes | None = field(repr=False)
    pending_at: int | None


class Charged(NamedTuple):
    """What became of a guess: the factor to judge it by, or None and how many milliseconds to wait (0: no factor)."""

    factor: SecondFactor | None
    wait_ms: int = 0


class SealedFactor(NamedTuple):
    """The sealed secrets of one user, None where there is none."""

    user_id: str
    sealed_secret: bytes | None
    pending_secret: bytes | None


class SecondFactorStore(Protocol):
    """At most one second factor a user; everything that can race is a conditional statement on its row."""

    async def get(self, user_id: str) -> SecondFactor | None:
        """Return the user's second factor, confirmed or pending."""

    async def count_recovery_codes(self, user_id: str) -> int:
        """Return how many recovery codes are left."""

    async def enrol(self, user_id: str, pending_secret: bytes, pending_at: int, audit: AuditEvent) -> None:
        """Set the pending secret, in the place of one before. MUST leave a confirmed one as it is."""

    async def confirm(
        self,
        user_id: str,
        pending_secret: bytes,
        step: int,
        code_hashes: Sequence[bytes],
        now: int,
        audit: AuditEvent,
    ) -> bool:
        """Put the pending secret into force, with new recovery codes, and count guesses anew. MUST change nothing and
        return False if it is no longer `pending_secret`."""

    async def charge(self, user_id: str, now: int) -> Charged:
        """Count one guess before it is judged. MUST be one conditional UPDATE, so that of any number of guesses at once
        no more are judged than are allowed."""

    async def accept_step(self, user_id: str, sealed_secret: bytes, step: int) -> bool:
        """Use a time step up, and count guesses anew. MUST be one conditional UPDATE: of any number at once exactly
        one gets True. False: the step, or a later one, was used, or the secret is another."""

    async def use_recovery_code(self, user_id: str, code_hash: bytes, audit: AuditEvent) -> bool:
        """Use a recovery code up, and count guesses anew. MUST be decided by one conditional DELETE. False: there is
        no such code (any more)."""

    async def replace_recovery_codes(
        self, user_id: str, sealed_secret: bytes, code_hashes: Sequence[bytes], audit: AuditEvent
    ) -> bool:
        """Forget the recovery codes and store others. False if the secret in force is another."""

    async def delete(self, user_id: str, audit: AuditEvent) -> bool:
        """Forget second factor and recovery codes. False if there is none."""

    async def list_sealed(self, limit: int, after_user_id: str) -> Sequence[SealedFactor]:
        """Return sealed secrets by user id, starting above `after_user_id` (empty: the first)."""

    async def reseal(self, user_id: str, sealed: bytes, resealed: bytes) -> bool:
        """Replace a sealed secret of the user by the same one sealed otherwise. MUST change nothing and return False if
        none is `sealed` any more."""
