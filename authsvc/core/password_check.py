"""Owns checking who somebody is by their password: throttle, password, what a refusal leaves behind, in this order.

Leaves hashing to core.passwords, counting to the throttle, and what is started afterwards to core.login.

The attempt is charged before the password is checked, so that guesses made at the same time cannot slip by. Unknown
user, wrong password and disabled account take the same path, with the same work and the same audit write.
"""

from dataclasses import dataclass, field, replace

from authsvc.core.audit_contract import AuditLog
from authsvc.core.clock import Clock
from authsvc.core.contracts import LoginThrottle, UserStore
from authsvc.core.errors import InvalidCredentials, Overloaded, TooManyAttempts
from authsvc.core.model import AuditEvent, Device, UserSecret
from authsvc.core.operation import Asked
from authsvc.core.passwords import PasswordHashing
from authsvc.core.throttle import throttle_keys
from authsvc.core.usernames import username_key


@dataclass(frozen=True, slots=True)
class PasswordAttempt:
    """What the user typed, and where.

    `reported_address` is what the client says of the user's address. Without it no network is slowed down: the client's
    own address is that of all its users.
    """

    username: str
    password: str = field(repr=False)
    device: Device
    reported_address: str = ""


class PasswordCheck:
    """Checks a user's password."""

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

    async def check(self, attempt: PasswordAttempt, asked: Asked) -> UserSecret:
        """Return the user whose password this is, with the hash that was checked.

        Raises InvalidCredentials, TooManyAttempts, Overloaded, StoreUnavailable.
        """
        key = username_key(attempt.username)
        charged = throttle_keys(key, attempt.reported_address)
        wait_ms = await self._throttle.hit(charged, self._clock())
        if wait_ms:
            await self._refused("login.throttled", attempt, asked)
            raise TooManyAttempts(wait_ms)
        secret = await self._users.get_secret(key)
        try:
            matches = await self._passwords.verify(
                secret.password_hash if secret else None, attempt.password, asked.wait_ms
            )
        except Overloaded:
            # Nothing was tried, so it counts against nobody: else a crowd would lock itself out.
            await self._throttle.succeed([replace(key, forgotten_on_success=False) for key in charged])
            raise
        if secret is None or not matches or secret.user.disabled_at is not None:
            await self._refused("login.failed", attempt, asked, secret)
            raise InvalidCredentials
        await self._throttle.succeed(charged)
        return await self._rehashed(secret, attempt.password, asked)

    async def _refused(
        self, event: str, attempt: PasswordAttempt, asked: Asked, secret: UserSecret | None = None
    ) -> None:
        """Write the audit event; the name typed is not in it, since people type passwords there."""
        user_id = secret.user.id if secret else ""
        await self._audit.record(
            AuditEvent(
                event,
                self._clock(),
                actor=asked.caller.actor,
                user_id=user_id,
                client_id=asked.caller.client_id,
                device=attempt.device,
            )
        )

    async def _rehashed(self, secret: UserSecret, password: str, asked: Asked) -> UserSecret:
        """Bring the stored hash to today's parameters while the password is at hand."""
        if self._passwords.needs_rehash(secret.password_hash):
            new_hash = await self._passwords.hash(password, asked.wait_ms)
            await self._users.rehash(secret.user.id, secret.password_hash, new_hash)
        return secret
