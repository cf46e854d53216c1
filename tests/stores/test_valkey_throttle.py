"""Login counters in Valkey: when a wait begins, how it grows, and that nobody slips by."""

import asyncio

import pytest
import redis.asyncio as redis

from authsvc.core.clock import MINUTE, SECOND
from authsvc.core.login_contract import LoginThrottle, ThrottleKey
from authsvc.stores.valkey import CacheStores
from tests.parts.valkey import NOW

WINDOW = 5 * MINUTE
ACCOUNT = ThrottleKey("account alice", limit=3, window_ms=WINDOW, forgotten_on_success=True)
NETWORK = ThrottleKey("network 192.0.2.7", limit=100, window_ms=WINDOW)


@pytest.fixture
def throttle(cache: CacheStores) -> LoginThrottle:
    """The shared counters."""
    assert cache.throttle is not None
    return cache.throttle


async def test_up_to_the_limit_nobody_waits(throttle: LoginThrottle) -> None:
    """Attempts up to the limit go on at once, also the one that reaches it."""
    waits = [await throttle.hit([ACCOUNT], NOW) for _ in range(3)]

    assert waits == [0, 0, 0]


async def test_the_wait_doubles_up_to_the_window(throttle: LoginThrottle) -> None:
    """From the limit on each further failure doubles the wait, from one second up to the window."""
    now = NOW
    for _ in range(2):
        await throttle.hit([ACCOUNT], now)

    waits = []
    for _ in range(12):
        assert await throttle.hit([ACCOUNT], now) == 0
        waits.append(await throttle.hit([ACCOUNT], now))
        now += waits[-1]

    assert [wait // SECOND for wait in waits] == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]


@pytest.mark.parametrize(("passed", "wait"), [(0, 1000), (999, 1), (1000, 0)])
async def test_the_wait_runs_out(throttle: LoginThrottle, passed: int, wait: int) -> None:
    """What is left to wait is told to the millisecond."""
    for _ in range(3):
        await throttle.hit([ACCOUNT], NOW)

    left = await throttle.hit([ACCOUNT], NOW + passed)

    assert left == wait


async def test_who_must_wait_is_not_charged(throttle: LoginThrottle) -> None:
    """Attempts during a wait charge no counter, neither the one that waits nor the others."""
    for _ in range(3):
        await throttle.hit([ACCOUNT], NOW)
    few = ThrottleKey(NETWORK.name, limit=2, window_ms=WINDOW)

    for _ in range(50):
        assert await throttle.hit([ACCOUNT, few], NOW + 1) == 999

    assert await throttle.hit([few], NOW + 1) == 0
    assert await throttle.hit([ACCOUNT], NOW + SECOND) == 0
    assert await throttle.hit([ACCOUNT], NOW + SECOND) == 2 * SECOND


@pytest.mark.parametrize(("passed", "wait"), [(-1, 999), (0, 0)])
async def test_old_failures_are_forgotten(throttle: LoginThrottle, passed: int, wait: int) -> None:
    """Only failures within the window count towards the limit."""
    for second in range(2):
        await throttle.hit([ACCOUNT], NOW + second)
    moment = NOW + WINDOW + passed

    await throttle.hit([ACCOUNT], moment)

    assert await throttle.hit([ACCOUNT], moment + 1) == wait


async def test_a_success_takes_back_its_own_attempt_only(throttle: LoginThrottle) -> None:
    """Of a counter that many share, a success takes back the attempt it was charged, and no failure of others."""
    shared = ThrottleKey("everybody", limit=3, window_ms=WINDOW)
    for _ in range(2):
        await throttle.hit([shared], NOW)

    waits = []
    for _ in range(5):
        waits.append(await throttle.hit([shared], NOW))
        await throttle.succeed([shared])
    waits.append(await throttle.hit([shared], NOW))
    waits.append(await throttle.hit([shared], NOW))

    assert waits == [0, 0, 0, 0, 0, 0, 1000]


async def test_a_success_clears(throttle: LoginThrottle) -> None:
    """Cleared counters start from nothing; others are left alone."""
    for _ in range(3):
        await throttle.hit([ACCOUNT, NETWORK], NOW)

    await throttle.succeed([ACCOUNT])

    assert await throttle.hit([ACCOUNT], NOW) == 0
    assert await throttle.hit([ThrottleKey(NETWORK.name, 4, WINDOW)], NOW) == 0
    assert await throttle.hit([ThrottleKey(NETWORK.name, 4, WINDOW)], NOW) == SECOND


async def test_a_success_forgives_mistakes(throttle: LoginThrottle) -> None:
    """From the account as many attempts are taken back as were made in the network of the success; from others one."""
    pair = ThrottleKey("alice here", limit=9, window_ms=WINDOW, forgotten_on_success=True)
    account = ThrottleKey("alice anywhere", limit=6, window_ms=WINDOW, mistakes_are_forgiven=True)
    everybody = ThrottleKey("everybody else", limit=4, window_ms=WINDOW)
    for _ in range(2):
        await throttle.hit([account], NOW)
    for _ in range(3):
        await throttle.hit([pair, account, everybody], NOW)

    forgotten = await throttle.succeed([pair, account, everybody])

    assert forgotten == 3
    assert [await throttle.hit([everybody], NOW) for _ in range(3)] == [0, 0, SECOND]
    assert [await throttle.hit([account], NOW) for _ in range(5)] == [0, 0, 0, 0, SECOND]


async def test_the_longest_wait(throttle: LoginThrottle) -> None:
    """A counter may say that nobody waits longer than so."""
    gentle = ThrottleKey("gentle", limit=1, window_ms=WINDOW, longest_wait_ms=3 * SECOND)
    waits, now = [], NOW

    for _ in range(4):
        await throttle.hit([gentle], now)
        waits.append(await throttle.hit([gentle], now))
        now += waits[-1]

    assert waits == [SECOND, 2 * SECOND, 3 * SECOND, 3 * SECOND]


async def test_concurrent_guesses_do_not_slip_by(throttle: LoginThrottle) -> None:
    """Of many attempts at once exactly as many go on as the limit says."""
    waits = await asyncio.gather(*(throttle.hit([ACCOUNT, NETWORK], NOW) for _ in range(50)))

    assert waits.count(0) == 3


async def test_one_round_trip(throttle: LoginThrottle, inside: redis.Redis) -> None:
    """All counters of an attempt are charged in one call."""
    await throttle.hit([ACCOUNT, NETWORK, ThrottleKey("everyone", 1000, WINDOW)], NOW)

    assert (await inside.info("commandstats"))["cmdstat_evalsha"]["calls"] == 1


async def test_counters_name_nobody(throttle: LoginThrottle, inside: redis.Redis) -> None:
    """Who reads the server learns no usernames and no networks, and counters leave by themselves."""
    await throttle.hit([ACCOUNT, NETWORK], NOW)

    keys = await inside.keys()

    assert len(keys) == 2
    assert not any(name.encode() in key for key in keys for name in ("alice", "192.0.2.7"))
    for key in keys:
        assert 0 < await inside.pttl(key) <= WINDOW
