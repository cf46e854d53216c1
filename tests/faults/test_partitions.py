"""Instances that are cut off from a store, or stand still: they go on as long as that is safe, and no longer.

The bound is that of a view: five seconds, here half of that. Then a cached session is believed only while every other
instance is known to be able to tell the cache what it revokes (`RollCall.is_complete`, asked by
`SessionValidator._is_doubtful`).
"""

import asyncio
import time

import pytest

from tests.faults.asking import LATE, NOT_NOW, Asking, allowed
from tests.faults.conftest import BOUND_MS
from tests.parts.valkey import until

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.xdist_group("partitions")]

PAST_BOUND_S = BOUND_MS / 1000 + 0.7


async def test_cut_off_from_sql(asking: Asking) -> None:
    """An instance that is cut off from SQL goes on with what is cached, and hears there of what others revoke."""
    kept, ended = await asking.in_every_cache(), await asking.in_every_cache()
    asking.instances[0].sql.cut()
    await asyncio.sleep(PAST_BOUND_S)

    before = await asking.validate(0, ended)
    assert await asking.revoke(1, ended) == "OK"

    assert before == "OK"
    assert await asking.validate(0, kept) == "OK"
    assert await asking.validate(0, ended) == "SESSION_NOT_ACTIVE"


async def test_sql_gone_for_all(asking: Asking) -> None:
    """With SQL gone, for longer than a view may be old, cached sessions are still good: nobody can revoke them."""
    login = await asking.in_every_cache()
    await asyncio.to_thread(asking.deployment.sql.kill)
    await asyncio.sleep(PAST_BOUND_S)

    assert [await asking.validate(number, login) for number in (0, 1)] == ["OK", "OK"]
    assert await asking.revoke(1, login) == NOT_NOW


@pytest.mark.parametrize("first", ["sql", pytest.param("cache", marks=LATE)])
async def test_two_way(asking: Asking, first: str) -> None:
    """One instance cut off from SQL, the other from the cache, in either order: what the other revokes is believed no
    longer than a view may be old. What is left is "not now"."""
    login = await asking.in_every_cache()
    wires = [asking.instances[0].sql, asking.instances[1].cache]
    for wire in wires if first == "sql" else reversed(wires):
        wire.cut()
        await asyncio.sleep(0.5)

    assert await asking.revoke(1, login) == "OK"
    await asyncio.sleep(PAST_BOUND_S)

    assert await asking.validate(0, login) == NOT_NOW
    assert await asking.validate(1, login) == "SESSION_NOT_ACTIVE"


async def test_killed_before_it_told_the_cache(asking: Asking) -> None:
    """A revocation that was committed by an instance that died before it told the cache is not slept through by one
    that is cut off from SQL."""
    login = await asking.in_every_cache()
    asking.instances[0].sql.cut()
    asking.instances[1].arm("Revoke before cache")
    assert await asking.revoke(1, login) == "UNAVAILABLE"
    assert await asking.instances[1].died(within_s=5)
    await asking.instances[1].start()
    assert await asking.revoke(1, login) == "OK"
    await asyncio.sleep(PAST_BOUND_S)

    assert await asking.validate(0, login) == NOT_NOW


async def test_cut_off_from_the_cache(asking: Asking) -> None:
    """An instance that is cut off from the cache reads SQL, and its revocations count at the other at once."""
    login = await asking.in_every_cache()
    asking.instances[1].cache.cut()

    assert await asking.validate(1, login) == "OK"
    assert await asking.revoke(1, login) == "OK"

    async def refused() -> bool:
        return await asking.validate(0, login) == "SESSION_NOT_ACTIVE"

    await until(refused, within_s=allowed(1.0))


async def test_paused(asking: Asking) -> None:
    """An instance that stood still for longer than a view may be old answers from SQL when it goes on, not from what
    it knew: no answer after the pause says that a session is good which was revoked during it."""
    login = await asking.in_every_cache()
    asking.instances[0].pause()
    waiting = [asyncio.create_task(asking.validate(0, login)) for _ in range(8)]
    assert await asking.revoke(1, login) == "OK"
    asking.instances[0].cache.stall()  # what is left of the cache's replies comes late, too
    await asyncio.sleep(PAST_BOUND_S)

    asking.instances[0].resume()
    resumed = time.monotonic()
    asking.instances[0].cache.heal()
    after = [await asking.validate(0, login) for _ in range(8)]

    assert set(after) == {"SESSION_NOT_ACTIVE"}
    assert time.monotonic() - resumed < allowed(2.0)
    assert "OK" not in await asyncio.gather(*waiting)
