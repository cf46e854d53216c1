"""Failed logins in SQL: how many are on record, when they make everybody wait, when they are forgotten."""

import asyncio

import pytest

from authsvc.core.clock import DAY, MINUTE, SECOND
from authsvc.core.login_contract import NO_FAILURES, FailureLimits, Failures, ThrottleKey
from authsvc.core.login_counters import ForgottenFailures
from authsvc.stores.sql import SqlStores
from tests.parts.records import NOW, add_user, an_event
from tests.parts.sql import audited

LIMITS = FailureLimits(
    ThrottleKey("recent", 3, 5 * MINUTE),
    ThrottleKey("daily", 6, DAY, longest_wait_ms=15 * MINUTE),
)
NAME, OTHER = b"n" * 16, b"o" * 16


async def fail(stores: SqlStores, times: int, now: int = NOW, counter: bytes = NAME) -> Failures:
    """Count so many failures; what is on record then."""
    for _ in range(times):
        await stores.logins.fail(counter, LIMITS, now, an_event("failed"))
    return (await stores.logins.get("nobody", counter, now))[1]


async def test_user_and_failures_in_one(stores: SqlStores) -> None:
    """Whether or not there is a user, and whether or not somebody failed: one read says both."""
    user = await add_user(stores)
    key = user.username.casefold()
    await fail(stores, 2)

    known, failures = await stores.logins.get(key, NAME, NOW)
    unknown, same_failures = await stores.logins.get("nobody", NAME, NOW)

    assert known == await stores.users.get_secret(key)
    assert known is not None
    assert known.user == user
    assert unknown is None
    assert failures == same_failures == Failures(2, 2, 0)
    assert await stores.logins.get("nobody", OTHER, NOW) == (None, NO_FAILURES)


async def test_the_wait_doubles(stores: SqlStores) -> None:
    """From the limit on each failure doubles the wait, from a second up to the longest; each leaves an event."""
    blocks = [(await fail(stores, 1)).blocked_until for _ in range(16)]

    seconds = [(until - NOW) // SECOND if until else 0 for until in blocks]
    assert seconds == [0, 0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300, 512, 900]
    assert await audited(stores) == ["failed"] * 16


async def test_recent_failures_are_forgotten(stores: SqlStores) -> None:
    """Below the limit they go a window after the first, at the limit a window after the wait; those of a day stay."""
    await fail(stores, 2)

    later = await fail(stores, 1, NOW + 5 * MINUTE)
    at_limit = await fail(stores, 2, NOW + 6 * MINUTE)
    kept = (await stores.logins.get("", NAME, NOW + 11 * MINUTE))[1]
    over = (await stores.logins.get("", NAME, NOW + 11 * MINUTE + SECOND))[1]

    assert (later.recent, later.daily) == (1, 3)
    assert (at_limit.recent, at_limit.blocked_until) == (3, NOW + 6 * MINUTE + SECOND)
    assert (kept.recent, over.recent, over.daily) == (3, 0, 5)


async def test_slow_guessing_adds_up(stores: SqlStores) -> None:
    """Who stays below the limit of minutes meets that of the day, and a day's quiet forgets everything."""
    now, waits = NOW, []
    for _ in range(9):
        now += 10 * MINUTE
        waits.append(max(0, (await fail(stores, 1, now)).blocked_until - now) // SECOND)

    assert waits == [0, 0, 0, 0, 0, 1, 2, 4, 8]
    assert (await stores.logins.get("", NAME, now + 2 * DAY))[1] == Failures(0, 0, now + 8 * SECOND)
    assert (await fail(stores, 1, now + 2 * DAY)) == Failures(1, 1, 0)


async def test_one_takes_the_turn(stores: SqlStores) -> None:
    """Of many attempts after a wait has run out one goes on; during a wait none, and none is counted."""
    await fail(stores, 3)
    early = await asyncio.gather(*(stores.logins.take(NAME, LIMITS, NOW + 999) for _ in range(20)))

    taken = await asyncio.gather(*(stores.logins.take(NAME, LIMITS, NOW + SECOND) for _ in range(20)))

    assert not any(early)
    assert taken.count(True) == 1
    found = (await stores.logins.get("", NAME, NOW + SECOND))[1]
    assert found == Failures(4, 4, NOW + SECOND + 2 * SECOND)


async def test_all_are_counted(stores: SqlStores) -> None:
    """Failures at the same time are each counted, and do not touch another's counter."""
    await asyncio.gather(*(fail(stores, 1, NOW, counter) for counter in (NAME, OTHER) for _ in range(20)))

    assert (await stores.logins.get("", NAME, NOW))[1].daily == 20
    assert (await stores.logins.get("", OTHER, NOW))[1].daily == 20


@pytest.mark.parametrize(("times", "left", "blocked"), [(1, 3, True), (2, 2, False), (9, 0, False)])
async def test_forgiven(stores: SqlStores, times: int, left: int, blocked: bool) -> None:
    """What is taken back is taken from both counts; below the limits nobody waits, at one everybody still does."""
    await fail(stores, 4)

    await stores.logins.forgive(NAME, LIMITS, times)

    found = (await stores.logins.get("", NAME, NOW))[1]
    assert (found.recent, found.daily, found.blocked_until > NOW) == (left, left, blocked)


async def test_housekeeping(stores: SqlStores) -> None:
    """A counter goes once it says nothing any more, and no sooner."""
    await fail(stores, 1)
    await fail(stores, 1, NOW + MINUTE, OTHER)
    chore = ForgottenFailures(stores.logins, lambda: NOW + DAY + 1)

    assert await chore.backlog() == 1
    assert [await chore.step(), await chore.step()] == [1, None]

    assert (await stores.logins.get("", OTHER, NOW + MINUTE))[1] == Failures(1, 1, 0)
