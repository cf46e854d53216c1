"""Owns checking who somebody is by their password: place, throttle, password, what a refusal leaves behind.

Leaves hashing to core.passwords, counting to the throttle and the login store, which counters there are to
core.login_counters, and what is started afterwards to core.login.

An attempt is charged before the password is checked, so that guesses made at the same time cannot slip by. Unknown
user, wrong password and disabled account take the same path, with the same work and the same writes. What was not
checked after all, for want of a turn or a store, is not counted as a failure.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace

from authsvc.core.audit_contract import AuditLog
from authsvc.core.clock import MINUTE, SECOND, Clock
from authsvc.core.contracts import StoreUnavailable, UserStore
from authsvc.core.errors import InvalidCredentials, Overloaded, TooManyAttempts
from authsvc.core.hashing_slots import Place
from authsvc.core.known_devices import KnownDevice, KnownDevices
from authsvc.core.login_contract import Failures, LoginStore, LoginThrottle
from authsvc.core.login_counters import (
    LASTING_LIMITS,
    Counters,
    at_limit,
    counters_of_account,
    counters_of_device,
    network_of,
)
from authsvc.core.model import AuditEvent, Device, UserSecret
from authsvc.core.operation import Asked
from authsvc.core.passwords import PasswordHashing
from authsvc.core.rationing import Ration
from authsvc.core.usernames import username_key

_SAY_EVERY_MS = 200


@dataclass(frozen=True, slots=True)
class PasswordAttempt:
    """What the user typed, and where. `network_address` is empty where no network is to be slowed down; `device_token`
    is the credential that a login from the same device returned."""

    username: str = field(repr=False)  # people type passwords there
    password: str = field(repr=False)
    device: Device
    network_address: str = ""
    device_token: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class _Charged:
    """An attempt that may be made: of whom by name, what was charged, what was on record before.

    `taken`: it is counted as a failure already, since there have been so many.
    """

    user: UserSecret | None
    counters: Counters
    failures: Failures
    taken: bool


class PasswordCheck:
    """Checks a user's password."""

    def __init__(
        self,
        *,
        users: UserStore,
        logins: LoginStore,
        audit: AuditLog,
        throttle: LoginThrottle,
        devices: KnownDevices,
        passwords: PasswordHashing,
        clock: Clock,
    ) -> None:
        self._users = users
        self._logins = logins
        self._audit = audit
        self._throttle = throttle
        self._devices = devices
        self._passwords = passwords
        self._clock = clock
        self._said, self._saying = Ration(MINUTE, clock), Ration(_SAY_EVERY_MS, clock)

    async def check(self, attempt: PasswordAttempt, asked: Asked) -> UserSecret:
        """Return the user whose password this is, with the hash that was checked.

        Raises InvalidCredentials, TooManyAttempts, Overloaded, StoreUnavailable.
        """
        device = self._devices.get(attempt.device_token)
        try:
            with self._passwords.place(asked.wait_ms, ahead=device is not None) as place:
                charged = await self._charge(attempt, device)
                async with self._withdrawn_if_unchecked(charged):
                    matches = await self._matches(charged.user, attempt, place)
                if matches is not None:
                    return await self._succeeded(matches, charged, attempt.password, place)
        except TooManyAttempts:
            await self._throttled(attempt, asked)
            raise
        await self._failed(charged, self._event("login.failed", attempt, asked, charged.user))
        raise InvalidCredentials

    async def _charge(self, attempt: PasswordAttempt, device: KnownDevice | None) -> _Charged:
        """Charge the attempt to the device's own counter, or else to all of them. Raises TooManyAttempts."""
        key = username_key(attempt.username)
        if device is not None:
            charged = await self._charge_to(counters_of_device(device.id.hex()), key)
            if charged.user is not None and device.is_of(charged.user.user):
                return charged
        return await self._charge_to(counters_of_account(key, attempt.network_address), key)

    async def _charge_to(self, counters: Counters, key: str) -> _Charged:
        now = self._clock()
        wait_ms = await self._throttle.hit(counters.throttle, now)
        if wait_ms:
            raise TooManyAttempts(wait_ms)
        try:
            secret, failures = await self._logins.get(key, counters.lasting, now)
            taken = at_limit(failures.recent, failures.daily, LASTING_LIMITS)
            if taken and not await self._take(counters, failures, now):
                raise TooManyAttempts(max(SECOND, failures.blocked_until - now))
        except (TooManyAttempts, StoreUnavailable):
            await self._withdraw(counters)
            raise
        return _Charged(secret, counters, failures, taken)

    async def _take(self, counters: Counters, failures: Failures, now: int) -> bool:
        if now < failures.blocked_until:
            return False
        return await self._logins.take(counters.lasting, LASTING_LIMITS, now)

    @asynccontextmanager
    async def _withdrawn_if_unchecked(self, charged: _Charged) -> AsyncIterator[None]:
        """Take the charge back where nothing was learnt from the attempt."""
        try:
            yield
        except Exception:
            await self._withdraw(charged.counters)
            if charged.taken:
                await self._logins.forgive(charged.counters.lasting, LASTING_LIMITS, 1)
            raise

    async def _withdraw(self, counters: Counters) -> None:
        own = [
            replace(key, forgotten_on_success=False, mistakes_are_forgiven=False) for key in counters.throttle
        ]
        await self._throttle.succeed(own)

    async def _matches(
        self, secret: UserSecret | None, attempt: PasswordAttempt, place: Place
    ) -> UserSecret | None:
        """Return the user if the password is right and they may log in; the work is the same if not."""
        stored, user_id = (secret.password_hash, secret.user.id) if secret else (None, "")
        right = await self._passwords.verify_in(place, stored, user_id, attempt.password)
        return secret if secret is not None and right and secret.user.disabled_at is None else None

    async def _succeeded(
        self, secret: UserSecret, charged: _Charged, password: str, place: Place
    ) -> UserSecret:
        mistakes = await self._throttle.succeed(charged.counters.throttle)
        on_record = mistakes if charged.taken else mistakes - 1
        if on_record and charged.failures.daily:
            await self._logins.forgive(charged.counters.lasting, LASTING_LIMITS, on_record)
        return await self._rehashed(secret, password, place)

    async def _rehashed(self, secret: UserSecret, password: str, place: Place) -> UserSecret:
        """Bring the stored hash to today's parameters and secret, while the password is at hand and there is time."""
        user_id, stored = secret.user.id, secret.password_hash
        if self._passwords.needs_rehash(stored, user_id):
            with suppress(Overloaded):
                new_hash = await self._passwords.hash_in(place, password, user_id)
                await self._users.rehash(user_id, stored, new_hash)
        return secret

    async def _failed(self, charged: _Charged, event: AuditEvent) -> None:
        if charged.taken:
            await self._audit.record(event)
        else:
            await self._logins.fail(charged.counters.lasting, LASTING_LIMITS, event.happened_at, event)

    async def _throttled(self, attempt: PasswordAttempt, asked: Asked) -> None:
        """Write it down once a minute for each name and each network, and a few times a second at most: those who must
        wait can ask as often as they like."""
        event = self._event("login.throttled", attempt, asked, None)
        subjects = (
            ("name", username_key(attempt.username)),
            ("network", network_of(attempt.network_address)),
        )
        if all(self._said.lets(subject) for subject in subjects if subject[1]) and self._saying.lets("any"):
            await self._audit.record(event)

    def _event(
        self, event: str, attempt: PasswordAttempt, asked: Asked, secret: UserSecret | None
    ) -> AuditEvent:
        """Describe a refusal; the name typed is not in it, since people type passwords there."""
        return AuditEvent(
            event,
            self._clock(),
            actor=asked.caller.actor,
            user_id=secret.user.id if secret else "",
            client_id=asked.caller.client_id,
            device=attempt.device,
        )
