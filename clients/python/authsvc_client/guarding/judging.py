"""Owns the rules of judging a guarded call that are the same for asyncio and threads. Leaves waiting to both.

A local judgement does no I/O. What needs authsvc (a session token; a strict rule whose view is too old) or time (a
revision that has not been heard of yet) is told apart here and done by the interceptors.
"""

from typing import Final
from urllib.parse import urlsplit

from authsvc_client.clock import Clock
from authsvc_client.guarding.metadata import SESSION_PREFIX
from authsvc_client.guarding.policy import Policy, Rule, Services
from authsvc_client.guarding.principal import Principal, Who, is_revoked
from authsvc_client.guarding.refusals import Refusals, Refused, Status, of_rejected
from authsvc_client.strict import AccessToken, TokenRejected
from authsvc_client.strict.profile import LEEWAY_MS
from authsvc_client.verifying import KeysUnavailable, RevisionNotReached, Revocations, Verifier

STALE_AFTER_MS: Final = 5_000
REVISION_WAIT_MS: Final = 2_000
# How long an open stream naps at most before it looks at the clock and the view again.
NAP_MS: Final = 1_000
# A session whose revocations are not heard of here is asked about this often while a stream is open for it.
UNHEARD_RECHECK_MS: Final = 60_000


class Judge:
    """Judges calls for one audience by one policy."""

    def __init__(
        self, verifier: Verifier, policy: Policy, services: Services | None, stale_after_ms: int, clock: Clock
    ) -> None:
        """Raises PolicyMistaken when the policy names what the server does not have."""
        policy.check(services)
        self.verifier = verifier
        self.policy = policy
        self.clock = clock
        self.stale_after_ms = stale_after_ms
        self.refusals = Refusals(urlsplit(verifier.issuer).hostname or "")

    @property
    def revocations(self) -> Revocations:
        """The view in use; a watcher that takes the verifier on puts its own in."""
        return self.verifier.revocations

    def is_stale(self) -> bool:
        """Whether revocations have not been heard of within the bound."""
        return self.revocations.age_ms() > self.stale_after_ms

    def may_reuse(self, rule: Rule, min_revision: int) -> bool:
        """Whether a remote answer of a moment ago will do: the view vouches that nothing was revoked since."""
        return not (rule.strict or self.is_stale() or min_revision > self.revocations.revision)

    def check_session(self, principal: Principal) -> None:
        """Return if an active session may be used here. Raises Refused."""
        if self.verifier.audience not in principal.audiences:
            raise Refused("CALLER_NOT_PERMITTED")
        if is_revoked(principal, self.revocations):  # Heard while the answer was under way.
            raise Refused("SESSION_NOT_ACTIVE")

    def lifetime(self, who: Who, bearer: str, rule: Rule) -> "Lifetime":
        """How long a stream opened by this caller may stay open."""
        return Lifetime(self, who, bearer, rule)


class Lifetime:
    """How long an open stream may go on: until its token ends or is revoked.

    `ends_at` (Unix ms): when a token is over, or a session has to be asked about again.
    """

    def __init__(self, judge: Judge, who: Who, bearer: str, rule: Rule) -> None:
        self._judge = judge
        self._rule = rule
        self.bearer = bearer
        self.who = who
        self.ends_at = 0
        self._checked_at = 0
        self.renew(who)

    @property
    def session_id(self) -> str:
        """The session that the stream ends with."""
        return self.who.session_id

    def renew(self, who: Who) -> None:
        """The token was just found good, here or by authsvc."""
        now = self._judge.clock()
        self.who, self._checked_at = who, now
        if isinstance(who, AccessToken):
            # One that was let in past its end, by leeway, ends with the leeway.
            self.ends_at = who.expires_at if now < who.expires_at else who.expires_at + LEEWAY_MS
        else:
            unheard = self._judge.is_stale()
            self.ends_at = min(who.expires_at, now + UNHEARD_RECHECK_MS) if unheard else who.expires_at

    def check(self) -> None:
        """Return if nothing known here ends the stream. Raises Refused."""
        if is_revoked(self.who, self._judge.revocations):
            raise Refused("ACCESS_TOKEN_REVOKED" if self.is_token else "SESSION_NOT_ACTIVE")
        if self.is_token and self._judge.clock() >= self.ends_at:
            raise Refused("ACCESS_TOKEN_EXPIRED")

    @property
    def is_token(self) -> bool:
        """Whether an access token opened the stream, not a session token."""
        return isinstance(self.who, AccessToken)

    def needs_remote_check(self) -> bool:
        """Whether only authsvc can say if the stream may go on."""
        now = self._judge.clock()
        if not self.is_token:
            return now >= self.ends_at
        due = now - self._checked_at >= self._judge.stale_after_ms
        return self._rule.strict and due and self._judge.is_stale()

    def nap_ms(self) -> int:
        """How long until the next look."""
        return max(1, min(NAP_MS, self.ends_at - self._judge.clock()))


def refused_by(error: Exception) -> Refused | None:
    """The refusal that an exception means; None for a defect."""
    if isinstance(error, Refused):
        return error
    if isinstance(error, TokenRejected):
        return of_rejected(error)
    if isinstance(error, KeysUnavailable):
        return Refused("DEPENDENCY_UNAVAILABLE")
    return Refused("REVISION_NOT_REACHED") if isinstance(error, RevisionNotReached) else None


def insufficient(rule: Rule) -> Refused:
    """The refusal of a caller whose scopes do not suffice."""
    return Refused("SCOPE_INSUFFICIENT", {"scope": " ".join(sorted(rule.scopes))})


def is_session_token(bearer: str) -> bool:
    """Whether only authsvc can judge this token. Proves nothing."""
    return bearer.startswith(SESSION_PREFIX)


__all__ = ["Judge", "Lifetime", "Status", "insufficient", "is_session_token", "refused_by"]
