"""Owns judging one bearer to the end, asking authsvc or waiting where that is needed, whatever the transport.

Leaves the rules to `judging`, what the call says to `metadata` and to frameworks.
"""

from authsvc_client.guarding.judging import REVISION_WAIT_MS, Judge, insufficient, is_session_token
from authsvc_client.guarding.policy import Rule
from authsvc_client.guarding.principal import Who
from authsvc_client.guarding.refusals import Refused
from authsvc_client.guarding.remote_checks import RemoteChecks
from authsvc_client.guarding.sync_remote_checks import SyncRemoteChecks


class Bearers:
    """Judges bearers on an event loop. Without `remote`, session tokens are refused."""

    def __init__(self, judge: Judge, remote: RemoteChecks | None) -> None:
        self._judge = judge
        self._remote = remote

    async def check(self, bearer: str, rule: Rule, min_revision: int = 0) -> Who:
        """Whom the bearer speaks for, if the rule lets them. Raises Refused and what `refused_by` knows."""
        if min_revision or rule.strict or is_session_token(bearer):
            who = await self.check_slowly(bearer, rule, min_revision)
        else:
            who = self._judge.verifier.verify(bearer)
        if not rule.scopes <= who.scopes:
            raise insufficient(rule)
        return who

    async def check_slowly(self, bearer: str, rule: Rule, min_revision: int) -> Who:
        """The same for what may need authsvc, or time; scopes are not looked at."""
        if is_session_token(bearer):
            return await self.validate(bearer, min_revision, self._judge.may_reuse(rule, min_revision))
        token = self._judge.verifier.verify(bearer)
        behind = min_revision > self._judge.revocations.revision
        if self._judge.is_stale() and (rule.strict or (behind and self._remote is not None)):
            await self.confirm(bearer, min_revision)
        elif behind:
            await self._judge.revocations.wait_for_revision(min_revision, REVISION_WAIT_MS)
            token = self._judge.verifier.verify(bearer)
        return token

    async def validate(self, bearer: str, min_revision: int = 0, may_reuse: bool = False) -> Who:
        """Whom a session token speaks for. Raises Refused."""
        if self._remote is None:
            raise Refused("CALLER_UNAUTHENTICATED")
        principal = await self._remote.validate(bearer, min_revision=min_revision, may_reuse=may_reuse)
        self._judge.check_session(principal)
        return principal

    async def confirm(self, bearer: str, min_revision: int = 0) -> None:
        """Return if authsvc says that a verified access token is still good. Raises Refused."""
        if self._remote is None:
            raise Refused("VIEW_TOO_OLD")
        await self._remote.confirm(bearer, self._judge.verifier.audience, min_revision=min_revision)


class SyncBearers:
    """Like `Bearers`, for threads: blocks while it asks or waits."""

    def __init__(self, judge: Judge, remote: SyncRemoteChecks | None) -> None:
        self._judge = judge
        self._remote = remote

    def check(self, bearer: str, rule: Rule, min_revision: int = 0) -> Who:
        """Whom the bearer speaks for, if the rule lets them. Raises Refused and what `refused_by` knows."""
        if min_revision or rule.strict or is_session_token(bearer):
            who = self.check_slowly(bearer, rule, min_revision)
        else:
            who = self._judge.verifier.verify(bearer)
        if not rule.scopes <= who.scopes:
            raise insufficient(rule)
        return who

    def check_slowly(self, bearer: str, rule: Rule, min_revision: int) -> Who:
        """The same for what may need authsvc, or time; scopes are not looked at."""
        if is_session_token(bearer):
            return self.validate(bearer, min_revision, self._judge.may_reuse(rule, min_revision))
        token = self._judge.verifier.verify(bearer)
        behind = min_revision > self._judge.revocations.revision
        if self._judge.is_stale() and (rule.strict or (behind and self._remote is not None)):
            self.confirm(bearer, min_revision)
        elif behind:
            self._judge.revocations.wait_for_revision_sync(min_revision, REVISION_WAIT_MS)
            token = self._judge.verifier.verify(bearer)
        return token

    def validate(self, bearer: str, min_revision: int = 0, may_reuse: bool = False) -> Who:
        """Whom a session token speaks for. Raises Refused."""
        if self._remote is None:
            raise Refused("CALLER_UNAUTHENTICATED")
        principal = self._remote.validate(bearer, min_revision=min_revision, may_reuse=may_reuse)
        self._judge.check_session(principal)
        return principal

    def confirm(self, bearer: str, min_revision: int = 0) -> None:
        """Return if authsvc says that a verified access token is still good. Raises Refused."""
        if self._remote is None:
            raise Refused("VIEW_TOO_OLD")
        self._remote.confirm(bearer, self._judge.verifier.audience, min_revision=min_revision)
