"""Owns a user's changing their own password. Leaves an administrator's setting one to core.users.

The current password is asked for again (core.own_password), so that a session left open is not an account lost. The
other sessions end; the calling one has just proved itself and goes on.
"""

from authsvc.core.announce import Announcer
from authsvc.core.callers import calling_user
from authsvc.core.clock import Clock
from authsvc.core.contracts import Revoked, RevokeOrder, UserStore
from authsvc.core.errors import InvalidCredentials, PasswordTooWeak
from authsvc.core.lifetimes import REVOCATION_GRACE
from authsvc.core.model import AuditEvent, RevokeReason
from authsvc.core.operation import Asked
from authsvc.core.own_password import OwnPassword
from authsvc.core.password_rules import PasswordRules
from authsvc.core.passwords import PasswordHashing, normalised


class ChangePassword:
    """Replaces the calling user's password."""

    def __init__(
        self,
        *,
        users: UserStore,
        own_password: OwnPassword,
        passwords: PasswordHashing,
        rules: PasswordRules,
        announcer: Announcer,
        clock: Clock,
    ) -> None:
        self._users = users
        self._own_password = own_password
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
        failed = self._event("user.password_change_failed", asked)
        secret = await self._own_password.check(user_id, current, asked.wait_ms, failed)
        self._rules.check(new, secret.user.username)
        if normalised(new) == normalised(current):
            raise PasswordTooWeak("this is the password as it is")
        new_hash = await self._passwords.hash(new, user_id, asked.wait_ms)
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
