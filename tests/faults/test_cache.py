"""The first two rows of the table in docs/failures.md: the cache in every kind of trouble, and nobody notices much."""

import asyncio
import time
from collections.abc import Callable

import pytest
import redis.asyncio as redis

from tests.faults.asking import LATE, Asking, allowed, ends, recovers, timed
from tests.faults.proxy import Wire
from tests.parts.valkey import until

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.xdist_group("faults of the cache")]

# Gone, or so slow that it might as well be.
UNREACHED: dict[str, Callable[[Wire], None]] = {
    "down": Wire.cut,
    "silent": Wire.stall,
    "losing replies": Wire.lose_replies,
    "slow": lambda wire: wire.delay(0.4),
}


@pytest.mark.parametrize("trouble", UNREACHED)
async def test_works_without(asking: Asking, trouble: str) -> None:
    """With the cache down, silent or slow one can log in, validate, refresh, introspect and revoke, and what has ended
    is refused."""
    before = await asking.in_every_cache()
    for instance in asking.instances:
        UNREACHED[trouble](instance.cache)

    login = await asking.log_in()
    renewed = await asking.refresh(1, login.tokens.refresh_token)

    assert [await asking.validate(number, before) for number in (0, 1)] == ["OK", "OK"]
    assert await asking.validate(1, login) == "OK"
    assert await asking.introspect(0, renewed.tokens.access_token)
    assert await asking.revoke(0, login) == "OK"
    assert await asking.validate(0, login) == "SESSION_NOT_ACTIVE"
    assert await asking.introspect(0, renewed.tokens.access_token) is False


async def test_full(asking: Asking) -> None:
    """With no room in the cache everything works: known sessions are still validated there, new ones from SQL, and an
    end is always remembered."""
    before = await asking.in_every_cache()
    await asking.deployment.cache.fill()
    try:
        login = await asking.log_in()
        assert await asking.validate(1, login) == "OK"
        assert await asking.validate(1, before) == "OK"
        assert await asking.revoke(0, before) == "OK"
        await ends(lambda: asking.validate(1, before))
        assert await asking.revoke(0, login) == "OK"
        assert await asking.validate(0, login) == "SESSION_NOT_ACTIVE"
    finally:
        await asking.deployment.cache.fill(False)


async def test_throttled_without(asking: Asking) -> None:
    """Guessing does not become free because the cache is down: each instance counts for itself."""
    for instance in asking.instances:
        instance.cache.cut()

    said = [await asking.login(0, "wrong password") for _ in range(14)]

    assert "RATE_LIMITED" in said
    assert said.count("INVALID_CREDENTIALS") <= 11


async def test_breaker(asking: Asking) -> None:
    """A cache that falls silent costs a few calls a moment; within a second calls do not wait for it any more. When it
    speaks again it is used again, within two seconds."""
    login = await asking.in_every_cache()
    asking.instances[0].cache.stall()

    first, waited = await timed(asking.validate(0, login))
    await asyncio.sleep(1.0)
    times = [await timed(asking.validate(0, login)) for _ in range(20)]

    assert first == "OK"
    assert waited < allowed(0.6)
    assert {outcome for outcome, _ in times} == {"OK"}
    assert sorted(seconds for _, seconds in times)[10] < allowed(0.05)
    asking.instances[0].cache.heal()

    async def used() -> bool:
        before = await _validations(asking)
        await asking.validate(0, login)
        return await _validations(asking) > before

    await until(used, allowed(2.0))


@pytest.mark.parametrize("loss", ["flushed", "restarted", "failed over", "restored"])
async def test_lost(asking: Asking, loss: str) -> None:
    """Whatever the cache loses, or remembers wrongly: nobody is logged out, nothing that has ended comes back, and two
    seconds later it is in use again."""
    cache = asking.deployment.cache
    kept, ended = await asking.in_every_cache(), await asking.in_every_cache()
    if loss == "restored":
        await cache.back_up()
    failing = asyncio.create_task(cache.fail_over(stalled_for=0.3)) if loss == "failed over" else None
    await asyncio.sleep(0.1)  # the link to the replica is stalled by now
    assert await asking.revoke(0, ended) == "OK"

    if loss == "flushed":
        await cache.flush()
    elif failing is not None:
        await failing
    else:
        await cache.restart()
    asking.deployment.lead_to_primary()

    for number in (0, 1):
        assert await asking.validate(number, kept) == "OK"
        assert await asking.validate(number, ended) == "SESSION_NOT_ACTIVE"
    await asking.refresh(1, kept.tokens.refresh_token)
    await recovers(lambda: asking.validate(0, kept))
    if failing is not None:
        await cache.add_replica()


async def test_wiped_under_load(asking: Asking) -> None:
    """The cache is wiped again and again while sessions are validated: not one wrong answer."""
    logins = [await asking.in_every_cache() for _ in range(4)]
    answers: list[str] = []
    stop = asyncio.Event()

    async def load(number: int) -> None:
        while not stop.is_set():
            answers.append(await asking.validate(number % 2, logins[number % 4]))

    callers = [asyncio.create_task(load(number)) for number in range(8)]
    for _ in range(5):
        await asyncio.sleep(0.2)
        await asking.deployment.cache.flush()
    stop.set()
    await asyncio.gather(*callers)

    assert set(answers) == {"OK"}
    assert len(answers) > 50


@LATE
async def test_throughput_returns(asking: Asking) -> None:
    """Five seconds after the cache was wiped under load as many sessions are validated as before."""
    logins = [await asking.in_every_cache() for _ in range(8)]
    done: list[float] = []
    stop = asyncio.Event()

    async def load(number: int) -> None:
        while not stop.is_set():
            assert await asking.validate(number % 2, logins[number % 8]) == "OK"
            done.append(time.monotonic())

    callers = [asyncio.create_task(load(number)) for number in range(8)]
    await asyncio.sleep(3.0)
    await asking.deployment.cache.flush()
    wiped = time.monotonic()
    await asyncio.sleep(5.0)
    stop.set()
    await asyncio.gather(*callers)

    before = sum(wiped - 2 < at <= wiped for at in done)
    windows = [sum(wiped + 0.5 * n < at <= wiped + 0.5 * n + 2 for at in done) for n in range(7)]
    assert max(windows) > 0.8 * before


async def test_deadline_is_kept(asking: Asking) -> None:
    """With a silent cache a call ends within its deadline, one way or the other."""
    login = await asking.in_every_cache()
    for instance in asking.instances:
        instance.cache.stall()

    calls = [
        asking.validate(0, login, timeout=0.2),
        asking.login(0, timeout=0.2),
        asking.revoke(1, login, timeout=0.2),
    ]
    times = [seconds for _, seconds in await asyncio.gather(*map(timed, calls))]

    assert max(times) < 0.2 + allowed(0.2)


async def _validations(asking: Asking) -> int:
    """How often the cache was asked for a session, of all scripts that ran there."""
    async with redis.Redis.from_url(asking.deployment.cache.primary.url) as client:
        stats = await client.info("commandstats")
    return int(stats.get("cmdstat_get", {}).get("calls", 0))
