"""What a new password must be, and how passwords are hashed and checked."""

import asyncio
import threading
from collections.abc import AsyncIterator

import argon2
import pytest

from authsvc.core.errors import Overloaded, PasswordTooWeak
from authsvc.core.password_rules import PasswordRules
from authsvc.core.passwords import PasswordHashing, normalised

RULES = PasswordRules()


@pytest.mark.parametrize(
    "password",
    [
        "fifteen chars!!",
        "a" * 5 + "b" * 5 + "c" * 5,
        "\u4e00\u4e8c\u4e09\u56db\u4e94\u516d\u4e03\u516b\u4e5d\u5341\u767e\u5343\u4e07\u4ebf\u5146",
        "only lower case letters and spaces",
        "x7" * 7 + "unlike" * 10 + "pass",
        "\0 control characters are fine",
        "the quick brown fox " * 51,
    ],
)
def test_good_passwords(password: str) -> None:
    """Fifteen code points of anything will do: no composition rules, 64 and more allowed (800-63B-4 §3.1.1.2)."""
    RULES.check(password, "alice")


@pytest.mark.parametrize(
    "password",
    [
        "",
        "fourteen chars",
        "e\u0301" * 14,
        "a" * 1025,
        "\u00e9" * 513,
        "passwordpassword",
        "PasswordPassword",
        "aaaaaaaaaaaaaaaaaaaa",
        "ababababababababab",
        "abcdeabcdeabcdeabcde",
        "alexandrina-maria",
        "ALEXANDRINA-maria 123456",
        "alexandrina-mariaalexandrina-maria",
    ],
)
def test_weak_passwords(password: str) -> None:
    """Too short, too long, often chosen, repeated, or the username: refused with the rule, not with what was typed."""
    with pytest.raises(PasswordTooWeak) as refused:
        RULES.check(password, "Alexandrina-Maria")

    assert refused.value.rule
    assert not password or password not in refused.value.rule


def test_length_counts_after_composing() -> None:
    """A letter and its accent count as the one character that they are."""
    assert len(normalised("e\u0301" * 15)) == 15
    RULES.check("e\u0301tonnamment long", "")


@pytest.fixture
async def hashing() -> AsyncIterator[PasswordHashing]:
    """Hashing on one thread, with two waiting at most."""
    running = PasswordHashing(slots=1, queue=2)
    yield running
    running.close()


async def test_verifies(hashing: PasswordHashing) -> None:
    """The right password matches its hash, any other does not, and nothing matches nobody's."""
    stored = await hashing.hash("caf\u00e9 and so on", 5_000)

    assert await hashing.verify(stored, "cafe\u0301 and so on", 5_000)
    assert not await hashing.verify(stored, "cafe and so on", 5_000)
    assert not await hashing.verify(None, "the password of nobody", 5_000)
    assert not await hashing.verify(None, "", 5_000)


async def test_nobody_costs_the_same(hashing: PasswordHashing) -> None:
    """The work for a user that does not exist has the parameters of a real one."""
    stored = await hashing.hash("anything", 5_000)

    assert argon2.extract_parameters(hashing._nobody) == argon2.extract_parameters(stored)


async def test_bounded(hashing: PasswordHashing) -> None:
    """Beyond the slots and the queue the next is refused at once."""
    gate = threading.Event()
    waiting = [asyncio.create_task(hashing._run(gate.wait, 60_000)) for _ in range(3)]
    await asyncio.sleep(0)

    with pytest.raises(Overloaded) as refused:
        await hashing.hash("x", 60_000)

    gate.set()
    await asyncio.gather(*waiting)
    assert refused.value.retry_ms > 0


async def test_refused_when_it_would_be_too_late(hashing: PasswordHashing) -> None:
    """Work that would be done only after its caller has gone is not begun."""
    hashing._seconds = 2.0

    with pytest.raises(Overloaded):
        await hashing.hash("x", 1_000)


async def test_event_loop_goes_on(hashing: PasswordHashing) -> None:
    """While a password is hashed, everything else goes on."""
    task = asyncio.create_task(hashing.hash("x", 5_000))
    turns = 0

    while not task.done():
        await asyncio.sleep(0)
        turns += 1

    assert turns > 20
