"""Owns a user's second factor from enrolment to its end. Leaves judging codes to core.one_time_codes.

Each change asks for proof of its own, whatever the session has proved before: the password while no second factor is in
force, a code of it once one is. So neither a session left open nor a service that was handed an access token can change
anything. Another authenticator is enrolled while the old one stays in force, and replaces it when it is confirmed.
"""

from dataclasses import dataclass, field

from authsvc.core import recovery_codes, totp
from authsvc.core.audit_contract import AuditLog
from authsvc.core.callers import Caller, calling_user
from authsvc.core.clock import MINUTE, Clock
from authsvc.core.contracts import UserStore
from authsvc.core.errors import (
    CallerNotPermitted,
    InvalidOneTimeCode,
    InvalidRequest,
    NotFound,
    SecondFactorNotEnrolled,
)
from authsvc.core.ids import RandomBytes
from authsvc.core.model import AuditEvent, Permission
from authsvc.core.one_time_codes import OneTimeCodes
from authsvc.core.operation import Asked
from authsvc.core.own_password import OwnPassword
from authsvc.core.sealing import Vault
from authsvc.core.second_factor_contract import SecondFactor, SecondFactorStore

CONFIRM_WITHIN = 10 * MINUTE


@dataclass(frozen=True, slots=True)
class Enrolment:
    """A secret to be entered into an authenticator, shown this once, and until when it can be confirmed."""

    secret: str = field(repr=False)
    uri: str = field(repr=False)
    expires_at: int


@dataclass(frozen=True, slots=True)
class Standing:
    """Since when a second factor is in force (None: it is not), and how many recovery codes are left."""

    confirmed_at: int | None
    recovery_codes_left: int


class SecondFactors:
    """Enrols, confirms, disables and resets."""

    def __init__(
        self,
        *,
        store: SecondFactorStore,
        users: UserStore,
        audit: AuditLog,
        codes: OneTimeCodes,
        own_password: OwnPassword,
        vault: Vault,
        issuer_name: str,
        clock: Clock,
        random_bytes: RandomBytes,
    ) -> None:
        self._store = store
        self._users = users
        self._audit = audit
        self._codes = codes
        self._own_password = own_password
        self._vault = vault
        self._issuer_name = issuer_name
        self._clock = clock
        self._random_bytes = random_bytes

    async def get(self, user_id: str, caller: Caller) -> Standing:
        """Return how a user stands; without an id, the calling one. Raises CredentialsMissing, CallerNotPermitted,
        StoreUnavailable."""
        if not (user_id and caller.has(Permission.ADMIN)):
            own = calling_user(caller)
            if user_id not in ("", own):
                raise CallerNotPermitted
            user_id = own
        factor = await self._store.get(user_id)
        if factor is None or factor.confirmed_at is None:
            return Standing(None, 0)
        return Standing(factor.confirmed_at, await self._store.count_recovery_codes(user_id))

    async def enrol(self, password: str, code: str, asked: Asked) -> Enrolment:
        """Make a secret for the calling user, good once it is confirmed.

        Raises CredentialsMissing, CallerNotPermitted, InvalidCredentials, InvalidOneTimeCode, InvalidRequest,
        TooManyAttempts, Overloaded, StoreUnavailable.
        """
        user_id = calling_user(asked.caller)
        user = await self._users.get(user_id)
        if user is None:
            raise NotFound
        await self._prove(user_id, password, code, asked)
        secret, now = totp.new_secret(self._random_bytes), self._clock()
        sealed = self._vault.seal(secret, user_id)
        await self._store.enrol(user_id, sealed, now, self._event("second_factor.enrolled", asked))
        uri = totp.provisioning_uri(secret, self._issuer_name, user.username)
        return Enrolment(totp.secret_text(secret), uri, now + CONFIRM_WITHIN)

    async def confirm(self, code: str, asked: Asked) -> tuple[str, ...]:
        """Put the secret into force whose code this is; return its recovery codes.

        Raises CredentialsMissing, CallerNotPermitted, SecondFactorNotEnrolled, InvalidOneTimeCode, StoreUnavailable.
        """
        user_id, now = calling_user(asked.caller), self._clock()
        pending = _pending(await self._store.get(user_id), now)
        secret = self._vault.unseal(pending, user_id)
        step = totp.matching_step(secret, "".join(code.split()), now, after=0)
        if step is None:
            await self._audit.record(self._event("second_factor.failed", asked, "confirming"))
            raise InvalidOneTimeCode
        codes = recovery_codes.new_codes(self._random_bytes)
        hashes = recovery_codes.hash_codes(secret, codes)
        event = self._event("second_factor.confirmed", asked)
        if not await self._store.confirm(user_id, pending, step, hashes, now, event):
            raise SecondFactorNotEnrolled
        return codes

    async def disable(self, code: str, asked: Asked) -> None:
        """End the calling user's second factor.

        Raises CredentialsMissing, CallerNotPermitted, SecondFactorNotEnrolled, InvalidOneTimeCode, TooManyAttempts,
        StoreUnavailable.
        """
        user_id = calling_user(asked.caller)
        await self._codes.check(user_id, code, self._event("", asked, "disabling"))
        await self._store.delete(user_id, self._event("second_factor.disabled", asked))

    async def regenerate(self, code: str, asked: Asked) -> tuple[str, ...]:
        """Replace the calling user's recovery codes. Raises as `disable` does."""
        user_id = calling_user(asked.caller)
        await self._codes.check(user_id, code, self._event("", asked, "new recovery codes"))
        factor = await self._store.get(user_id)
        if factor is None or factor.sealed_secret is None:
            raise SecondFactorNotEnrolled
        codes = recovery_codes.new_codes(self._random_bytes)
        hashes = recovery_codes.hash_codes(self._vault.unseal(factor.sealed_secret, user_id), codes)
        event = self._event("recovery_codes.replaced", asked)
        if not await self._store.replace_recovery_codes(user_id, factor.sealed_secret, hashes, event):
            raise SecondFactorNotEnrolled
        return codes

    async def reset(self, user_id: str, asked: Asked) -> bool:
        """End a user's second factor, on an administrator's word. False if there was none. Raises NotFound,
        StoreUnavailable."""
        if await self._users.get(user_id) is None:
            raise NotFound
        return await self._store.delete(user_id, self._event("second_factor.reset", asked, user_id=user_id))

    async def _prove(self, user_id: str, password: str, code: str, asked: Asked) -> None:
        factor = await self._store.get(user_id)
        if factor is not None and factor.sealed_secret is not None:
            if not code:
                raise InvalidRequest(("one_time_code", "must not be empty while a second factor is in force"))
            await self._codes.check(user_id, code, self._event("", asked, "enrolling"))
            return
        if not password:
            raise InvalidRequest(("password", "must not be empty"))
        failed = self._event("second_factor.failed", asked, "enrolling: wrong password")
        await self._own_password.check(user_id, password, asked.wait_ms, failed)

    def _event(self, event: str, asked: Asked, reason: str = "", user_id: str = "") -> AuditEvent:
        caller = asked.caller
        return AuditEvent(
            event,
            self._clock(),
            actor=caller.actor,
            user_id=user_id or caller.user_id,
            session_id=caller.session_id if not user_id else "",
            client_id=caller.client_id,
            device=asked.device,
            reason=reason,
        )


def _pending(factor: SecondFactor | None, now: int) -> bytes:
    """The sealed secret that waits to be confirmed. Raises SecondFactorNotEnrolled if none does, or not any more."""
    if factor is None or factor.pending_secret is None or factor.pending_at is None:
        raise SecondFactorNotEnrolled
    if now >= factor.pending_at + CONFIRM_WITHIN:
        raise SecondFactorNotEnrolled
    return factor.pending_secret
