"""Checking a password, by rules alone: what is counted as a failure, and what is not."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest

from authsvc.core.caller import NOBODY
from authsvc.core.contracts import StoreUnavailable
from authsvc.core.errors import InvalidCredentials, Overloaded, TooManyAttempts
from authsvc.core.known_devices import KnownDevices
from authsvc.core.login_contract import NO_FAILURES, Failures, ThrottleKey
from authsvc.core.model import AuditEvent, Device, User, UserSecret
from authsvc.core.operation import Asked
from authsvc.core.password_check import PasswordAttempt, PasswordCheck
from authsvc.core.secrets import DeploymentSecrets
from authsvc.core.throttle import LocalThrottle

NOW = 1_790_000_000_000
ASKED = Asked(NOBODY, Device(), 1_000)
SECRETS = DeploymentSecrets([b"s" * 32])
ALICE = User("01900000-0000-7000-8000-000000000001", "alice", (), NOW, None, NOW)


class Logins:
    """A login store that says what it is told to, and keeps what it is asked to count."""

    def __init__(self, failures: Failures = NO_FAILURES, free: bool = True) -> None:
        self.failures = failures
        self.free = free
        self.is_down = False
        self.done: list[str] = []

    async def get(self, username_key: str, counter: bytes, now: int) -> tuple[UserSecret | None, Failures]:
        if self.is_down:
            raise StoreUnavailable
        return (UserSecret(ALICE, "right") if username_key == "alice" else None), self.failures

    async def fail(self, counter: bytes, limits: Any, now: int, audit: AuditEvent) -> None:
        self.done.append("fail")

    async def take(self, counter: bytes, limits: Any, now: int) -> bool:
        self.done.append("take")
        return self.free

    async def forgive(self, counter: bytes, limits: Any, times: int) -> None:
        self.done.append(f"forgive {times}")


class Hashing:
    """Passwords that are their own hashes."""

    def __init__(self) -> None:
        self.is_full = self.is_late = False
        self.checked = 0

    @contextmanager
    def place(self, wait_ms: int, *, ahead: bool = False) -> Iterator[Any]:
        if self.is_full:
            raise Overloaded
        yield None

    async def verify_in(self, place: Any, stored: str | None, user_id: str, password: str) -> bool:
        if self.is_late:
            raise Overloaded
        self.checked += 1
        return stored == password

    def needs_rehash(self, stored: str, user_id: str) -> bool:
        return False


class Audit:
    """An audit log that keeps the names of events."""

    def __init__(self) -> None:
        self.events: list[str] = []

    async def record(self, event: AuditEvent) -> None:
        self.events.append(event.event)


class CountingThrottle(LocalThrottle):
    """Knows what it was asked, and may make everybody wait."""

    def __init__(self) -> None:
        super().__init__()
        self.hits: list[list[str]] = []
        self.wait_ms = 0

    async def hit(self, keys: Sequence[ThrottleKey], now: int) -> int:
        self.hits.append([key.name for key in keys])
        return self.wait_ms or await super().hit(keys, now)


class Door:
    """A check over fakes."""

    def __init__(self, logins: Logins | None = None) -> None:
        self.logins = logins or Logins()
        self.hashing, self.audit, self.throttle = Hashing(), Audit(), CountingThrottle()
        self.now = NOW
        self.devices = KnownDevices(SECRETS, 1_000, lambda: self.now, os.urandom)
        everything: Any = {
            "users": None,
            "logins": self.logins,
            "audit": self.audit,
            "throttle": self.throttle,
            "devices": self.devices,
            "passwords": self.hashing,
            "clock": lambda: self.now,
        }
        self._check = PasswordCheck(**everything)

    async def try_to(
        self, password: str = "wrong", name: str = "alice", device: str = "", at: str = "192.0.2.1"
    ) -> str:
        """Try a password; how that ended."""
        attempt = PasswordAttempt(name, password, Device(), at, device)
        try:
            await self._check.check(attempt, ASKED)
        except (InvalidCredentials, TooManyAttempts, Overloaded, StoreUnavailable) as error:
            return type(error).__name__
        return "OK"


@pytest.mark.parametrize("fault", ["full", "late", "sql down"])
async def test_a_crowd_does_not_lock_itself_out(fault: str) -> None:
    """An attempt of which nothing was learnt counts against nobody, however many there are.

    (Guards: the place before the charge in `check`, `_withdrawn_if_unchecked`, the `except` in `_charge_to`.)
    """
    door = Door()
    door.hashing.is_full, door.hashing.is_late = fault == "full", fault == "late"
    door.logins.is_down = fault == "sql down"

    refused = {await door.try_to("right") for _ in range(1_200)}

    door.hashing.is_full = door.hashing.is_late = door.logins.is_down = False
    assert refused == {"StoreUnavailable" if fault == "sql down" else "Overloaded"}
    assert await door.try_to("right") == "OK"
    assert door.logins.done == []


async def test_full_is_told_before_anything_is_asked() -> None:
    """With no place to hash in, neither the cache nor SQL hears of the attempt."""
    door = Door()
    door.hashing.is_full = True

    await door.try_to()

    assert door.throttle.hits == []


async def test_many_failures_on_record() -> None:
    """With many failures in SQL an attempt is counted before it is made; one that is not free to go is not checked."""
    free, blocked, beaten = (
        Door(Logins(Failures(10, 10, NOW))),
        Door(Logins(Failures(10, 10, NOW + 5_000))),
        Door(Logins(Failures(0, 100, 0), free=False)),
    )

    assert await free.try_to() == "InvalidCredentials"
    assert await blocked.try_to("right") == await beaten.try_to("right") == "TooManyAttempts"

    assert free.logins.done == ["take"]
    assert free.audit.events == ["login.failed"]
    assert blocked.logins.done == []
    assert (blocked.hashing.checked, beaten.hashing.checked) == (0, 0)
    assert await free.try_to("right") == "OK"
    assert free.logins.done == ["take", "take", "forgive 2"]


async def test_mistakes_are_forgiven_and_nothing_else() -> None:
    """After a success SQL forgives what this user mistyped here, which is what the throttle knows of."""
    door = Door(Logins(Failures(4, 9, 0)))
    for _ in range(3):
        await door.try_to()

    await door.try_to("right")

    assert door.logins.done == ["fail", "fail", "fail", "forgive 3"]


async def test_nothing_is_written_for_an_ordinary_login() -> None:
    """A login that succeeds at once writes nothing before there is a session."""
    door = Door()

    assert await door.try_to("right") == "OK"

    assert door.logins.done == door.audit.events == []


async def test_waiting_is_written_down_seldom() -> None:
    """Who must wait and asks all the same fills neither the audit log nor SQL, be it at one name, from one network, or
    at many from many (Guards: `_said` and `_saying` in `_throttled`)."""
    one, everywhere = Door(), Door()
    for _ in range(10):
        await one.try_to()
    everywhere.throttle.wait_ms = 1_000

    for number in range(30):
        one.now += 200
        await one.try_to(at=f"198.51.100.{number}")
        one.now += 200
        await one.try_to(name=f"user{number}")
    for number in range(50):
        await everywhere.try_to(name=f"user{number}", at=f"198.51.100.{number}")

    assert one.audit.events.count("login.throttled") == 2  # of the name; of the network
    assert everywhere.audit.events == ["login.throttled"]


async def test_a_known_device_has_a_counter_of_its_own() -> None:
    """Its attempts are charged to that alone, and after five failures it waits, whatever the others do."""
    door = Door()
    token = door.devices.make(ALICE)

    own = [await door.try_to(device=token) for _ in range(6)]
    others = [await door.try_to() for _ in range(11)]

    assert own == ["InvalidCredentials"] * 5 + ["TooManyAttempts"]
    assert others == ["InvalidCredentials"] * 10 + ["TooManyAttempts"]
    assert all(len(names) == 1 and names[0].startswith("device:") for names in door.throttle.hits[:6])


@pytest.mark.parametrize("name", ["bob", "nobody"])
async def test_a_device_of_somebody_else_is_unknown(name: str) -> None:
    """The credential of one user is none for another name: the attempt is charged like a stranger's.

    (Guard: `is_of` in `_charge`.)
    """
    door = Door()
    mine = door.devices.make(ALICE)
    other = User("01900000-0000-7000-8000-000000000002", name, (), NOW, None, NOW)
    theirs = door.devices.make(other)

    refused = [await door.try_to(device=theirs) for _ in range(20)]

    assert "TooManyAttempts" in refused
    assert door.hashing.checked <= 10
    assert await door.try_to("right", device=mine) == "OK"


async def test_a_device_of_an_older_password_is_unknown() -> None:
    """The credential ends with the password that it was earned by."""
    door = Door()
    old = User(ALICE.id, "alice", (), NOW, None, NOW - 1)
    for _ in range(10):
        await door.try_to()

    assert await door.try_to("right", device=door.devices.make(old)) == "TooManyAttempts"
    assert await door.try_to("right", device=door.devices.make(ALICE)) == "OK"
