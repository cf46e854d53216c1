"""Checking a password, by rules alone."""

from typing import Any

import pytest

from authsvc.core.caller import NOBODY
from authsvc.core.errors import Overloaded
from authsvc.core.model import Device
from authsvc.core.operation import Asked
from authsvc.core.password_check import PasswordAttempt, PasswordCheck
from authsvc.core.throttle import LocalThrottle

NOW = 1_790_000_000_000


class _NoUsers:
    async def get_secret(self, _: str) -> None:
        return None


class _Busy:
    """Hashing that has no slot free."""

    async def verify(self, *_: Any) -> bool:
        raise Overloaded


async def test_a_crowd_does_not_lock_itself_out() -> None:
    """An attempt that was refused for want of a slot counts against nobody, however many there are.

    (Guard: the `except Overloaded` in `PasswordCheck.check`.)
    """
    busy: Any = _Busy()
    users: Any = _NoUsers()
    audit: Any = None
    check = PasswordCheck(
        users=users, audit=audit, throttle=LocalThrottle(), passwords=busy, clock=lambda: NOW
    )
    attempt = PasswordAttempt("zelda", "a password", Device(), "192.0.2.1")

    for _ in range(1_200):
        with pytest.raises(Overloaded):
            await check.check(attempt, Asked(NOBODY, Device(), 1_000))
