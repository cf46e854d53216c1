"""Owns asking somebody who is logged in for their password again. Leaves logging in to core.password_check.

Guesses are counted, apart from logins: whoever guesses at the front door cannot keep the user from what they do inside.
"""

from dataclasses import replace

from authsvc.core.audit_contract import AuditLog
from authsvc.core.clock import MINUTE, Clock
from authsvc.core.contracts import UserStore
from authsvc.core.errors import InvalidCredentials, TooManyAttempts
from authsvc.core.login_contract import LoginThrottle, ThrottleKey
from authsvc.core.model import AuditEvent, UserSecret
from authsvc.core.passwords import PasswordHashing
from authsvc.core.rationing import Ration
from authsvc.core.usernames import username_key

_GUESSES = 5
_WINDOW = 5 * MINUTE


class OwnPassword:
    """Checks the password of a user whose session is known already."""

    def __init__(
        self,
        *,
        users: UserStore,
        audit: AuditLog,
        throttle: LoginThrottle,
        passwords: PasswordHashing,
        clock: Clock,
    ) -> None:
        self._users = users
        self._audit = audit
        self._throttle = throttle
        self._passwords = passwords
        self._clock = clock
        self._ration = Ration(MINUTE, clock)

    async def check(self, user_id: str, password: str, wait_ms: int, failed: AuditEvent) -> UserSecret:
        """Return the user's secret if this is the password; else record `failed`, or once a minute the throttling.

        Raises InvalidCredentials, TooManyAttempts, Overloaded, StoreUnavailable.
        """
        charged = (ThrottleKey(f"password:{user_id}", _GUESSES, _WINDOW, forgotten_on_success=True),)
        throttled_ms = await self._throttle.hit(charged, self._clock())
        if throttled_ms:
            if self._ration.lets(user_id):
                await self._audit.record(replace(failed, event="login.throttled"))
            raise TooManyAttempts(throttled_ms)
        user = await self._users.get(user_id)
        secret = await self._users.get_secret(username_key(user.username)) if user else None
        known = secret.password_hash if secret else None
        matches = await self._passwords.verify(known, user_id, password, wait_ms)
        if secret is None or not matches or secret.user.disabled_at is not None:
            await self._audit.record(failed)
            raise InvalidCredentials
        await self._throttle.succeed(charged)
        return secret
