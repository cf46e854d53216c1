"""Owns judging a code that a user gives as second factor: a TOTP code or a recovery code, each good once.

Leaves what the code is given for to whoever asks, and every race to the store.

A guess at a TOTP code is counted before it is judged; the count is in SQL and knows no cache. A recovery code is too
long to be guessed and is not counted, so that its owner gets in while somebody else guesses.
"""

from dataclasses import replace

from authsvc.core import recovery_codes, totp
from authsvc.core.audit_contract import AuditLog
from authsvc.core.clock import MINUTE, Clock
from authsvc.core.errors import InvalidOneTimeCode, SecondFactorNotEnrolled, TooManyAttempts
from authsvc.core.model import AuditEvent
from authsvc.core.rationing import Ration
from authsvc.core.sealing import Vault
from authsvc.core.second_factor_contract import SecondFactorStore

VAULT_PURPOSE = "second factor"
_THROTTLED_EVERY = MINUTE


class OneTimeCodes:
    """Checks codes and uses them up."""

    def __init__(self, store: SecondFactorStore, audit: AuditLog, vault: Vault, clock: Clock) -> None:
        self._store = store
        self._audit = audit
        self._vault = vault
        self._clock = clock
        self._ration = Ration(_THROTTLED_EVERY, clock)

    async def check(self, user_id: str, code: str, about: AuditEvent) -> None:
        """Return if this code is the user's, which uses it up. `about`: who asks, from where and (its reason) for what.

        Raises InvalidOneTimeCode, TooManyAttempts, SecondFactorNotEnrolled, StoreUnavailable.
        """
        recovery_code = recovery_codes.canonical(code)
        if recovery_code is not None:
            right = await self._use_recovery_code(user_id, recovery_code, about)
        else:
            right = await self._use_totp(user_id, "".join(code.split()), about)
        if not right:
            await self._record("second_factor.failed", about)
            raise InvalidOneTimeCode

    async def _use_totp(self, user_id: str, code: str, about: AuditEvent) -> bool:
        if not totp.is_code(code):
            return False  # No guess at all, and so not counted.
        now = self._clock()
        charged = await self._store.charge(user_id, now)
        factor = charged.factor
        if factor is None or factor.sealed_secret is None:
            await self._refuse(charged.wait_ms, user_id, about)
            return False
        secret = self._vault.unseal(factor.sealed_secret, user_id)
        step = totp.matching_step(secret, code, now, after=factor.last_step)
        return step is not None and await self._store.accept_step(user_id, factor.sealed_secret, step)

    async def _use_recovery_code(self, user_id: str, code: str, about: AuditEvent) -> bool:
        factor = await self._store.get(user_id)
        if factor is None or factor.sealed_secret is None:
            raise SecondFactorNotEnrolled
        code_hash = recovery_codes.hash_code(self._vault.unseal(factor.sealed_secret, user_id), code)
        event = replace(about, event="recovery_code.used", happened_at=self._clock())
        return await self._store.use_recovery_code(user_id, code_hash, event)

    async def _refuse(self, wait_ms: int, user_id: str, about: AuditEvent) -> None:
        if not wait_ms:
            raise SecondFactorNotEnrolled
        if self._ration.lets(user_id):
            await self._record("second_factor.throttled", about)
        raise TooManyAttempts(wait_ms)

    async def _record(self, event: str, about: AuditEvent) -> None:
        await self._audit.record(replace(about, event=event, happened_at=self._clock()))
