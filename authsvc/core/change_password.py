"""Owns a user's changing their own password. Leaves an administrator's setting one to core.users.

The current password is asked for again, so that a session left open is not an account lost, and guesses of it are
counted, apart from logins: whoever guesses at the front door cannot keep the user from changing it. The other sessions
end; the calling one has just proved itself and goes on.
"""

from authsvc.core.announce import Announcer
from authsvc.core.audit_contract import AuditLog
from authsvc.core.callers import calling_user
from authsvc.core.clock import MINUTE, Clock
from authsvc.core.contracts import LoginThrottle, Revoked, RevokeOrder, ThrottleKey, UserStore
from authsvc.core.errors import InvalidCredentials, PasswordTooWeak, TooManyAttempts
from authsvc.core.lifetimes import REVOCATION_GRACE
from authsvc.core.model import AuditEvent, RevokeReason, UserSecret
from authsvc.core.operation import Asked
from authsvc.core.password_rules import PasswordRules
from authsvc.core.passwords import PasswordHashing, normalised
from authsvc.core.usernames import username_key

_GUESSES = 5
_WINDOW = 5 * MINUTE


class ChangePassword:
    """Replaces the calling user's password."""

    def __init__(
        self,
        *,
        users: UserStore,
        audit: AuditLog,
        throttle: LoginThrottle,
        passwords: PasswordHashing,
        rules: PasswordRules,
        announcer: Announcer,
        clock: Clock,
    ) -> None:
        self._users = users
        self._audit = audit
        self._throttle = throttle
        self._passwords = passwords
        self._rules = rules
        self._announcer = announcer
        self._clock = clock

    async def change(self, current: str, new: str, asked: Asked) -> Revoked:
        """Replace the password and end the user's other sessions; return those that were live.

        Raises CredentialsMissing, CallerNotPermitted, InvalidCredentials, PasswordTooWeak, TooManyAttempts, Overloaded,
        StoreUnavailable.
        """
        user_id = calling_user(asked.caller)
        secret = await self._confirmed(user_id, current, asked)
        self._rules.check(new, secret.user.username)
        if normalised(new) == normalised(current):
            raise PasswordTooWeak("this is the password as it is")
        new_hash = await self._passwords.hash(new, asked.wait_ms)
        revoked = await self._users.set_password(
            user_id,
            new_hash,
            self._order(asked),
            keep_session_id=asked.caller.session_id,
            replaces=secret.user.password_changed_at,
        )
        if revoked is None:
            raise InvalidCredentials  # It was changed meanwhile.
        await self._announcer.announce(revoked)
        return revoked

    async def _confirmed(self, user_id: str, password: str, asked: Asked) -> UserSecret:
        """Return the user's secret if this is the password."""
        charged = (ThrottleKey(f"password:{user_id}", _GUESSES, _WINDOW, forgotten_on_success=True),)
        wait_ms = await self._throttle.hit(charged, self._clock())
        if wait_ms:
            raise TooManyAttempts(wait_ms)
        user = await self._users.get(user_id)
        secret = await self._users.get_secret(username_key(user.username)) if user else None
        known = secret.password_hash if secret else None
        matches = await self._passwords.verify(known, password, asked.wait_ms)
        if secret is None or not matches:
            await self._audit.record(self._event("user.password_change_failed", asked))
            raise InvalidCredentials
        await self._throttle.succeed(charged)
        return secret

    def _order(self, asked: Asked) -> RevokeOrder:
        audit = self._event("user.password_changed", asked)
        return RevokeOrder(audit.happened_at, RevokeReason.PASSWORD_CHANGED, REVOCATION_GRACE, audit)

    def _event(self, event: str, asked: Asked) -> AuditEvent:
        caller = asked.caller
        return AuditEvent(
            event,
            self._clock(),
            actor=caller.actor,
            user_id=caller.user_id,
            session_id=caller.session_id,
            client_id=caller.client_id,
            device=asked.device,
        )
