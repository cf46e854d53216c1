"""Instances that are cut off from a store, or stand still: they go on as long as that is safe, and no longer.

The bound is that of a view: five seconds, here half of that. Then a cached session is believed only while every other
instance is known to be able to tell the cache what it revokes (`RollCall.is_complete`, asked by
`SessionValidator._is_doubtful`).
"""

import asyncio
import time

import pytest

from authsvc.v1 import auth_service_pb2 as pb
from tests.faults.calling import said
from tests.faults.conftest import BOUND_MS
from tests.faults.deployment import Deployment
from tests.parts.service import PASSWORD
from tests.parts.valkey import until

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.xdist_group("partitions")]

PAST_BOUND_S = BOUND_MS / 1000 + 0.7
NOT_NOW = "DEPENDENCY_UNAVAILABLE"


async def log_in(deployed: Deployment, instance: int = 0, username: str = "alice") -> pb.LoginResponse:
    """A new session."""
    request = pb.LoginRequest(username=username, password=PASSWORD)
    stub = deployed.instances[instance].auth
    reply: pb.LoginResponse = await stub.Login(request, metadata=deployed.metadata("web"), timeout=5)
    return reply


async def validated(deployed: Deployment, instance: int, login: pb.LoginResponse) -> str:
    """What an instance says of a session."""
    request = pb.ValidateSessionRequest(session_token=login.session_token)
    stub = deployed.instances[instance].auth
    return await said(stub.ValidateSession(request, metadata=deployed.metadata("gateway"), timeout=8))


async def revoked(deployed: Deployment, instance: int, login: pb.LoginResponse) -> str:
    """How a revocation ends."""
    request = pb.RevokeRequest(token=login.session_token)
    stub = deployed.instances[instance].auth
    return await said(stub.Revoke(request, metadata=deployed.metadata("web"), timeout=5))


async def in_both_caches(deployed: Deployment) -> pb.LoginResponse:
    """A new session that both instances have just found in the cache."""
    login = await log_in(deployed)
    assert [await validated(deployed, number, login) for number in (0, 1)] == ["OK", "OK"]
    return login


async def test_cut_off_from_sql(deployed: Deployment) -> None:
    """An instance that is cut off from SQL goes on with what is cached, and hears there of what others revoke."""
    kept, ended = await in_both_caches(deployed), await in_both_caches(deployed)
    deployed.instances[0].sql.cut()
    await asyncio.sleep(PAST_BOUND_S)

    before = await validated(deployed, 0, ended)
    assert await revoked(deployed, 1, ended) == "OK"

    assert before == "OK"
    assert await validated(deployed, 0, kept) == "OK"
    assert await validated(deployed, 0, ended) == "SESSION_NOT_ACTIVE"


async def test_sql_gone_for_all(deployed: Deployment) -> None:
    """With SQL gone, for longer than a view may be old, cached sessions are still good: nobody can revoke them."""
    login = await in_both_caches(deployed)
    await asyncio.to_thread(deployed.sql.kill)
    await asyncio.sleep(PAST_BOUND_S)

    assert [await validated(deployed, number, login) for number in (0, 1)] == ["OK", "OK"]
    assert await revoked(deployed, 1, login) == NOT_NOW


@pytest.mark.parametrize("first", ["sql", "cache"])
async def test_two_way(deployed: Deployment, first: str) -> None:
    """One instance cut off from SQL, the other from the cache, in either order: what the other revokes is believed no
    longer than a view may be old. What is left is "not now"."""
    login = await in_both_caches(deployed)
    wires = [deployed.instances[0].sql, deployed.instances[1].cache]
    for wire in wires if first == "sql" else reversed(wires):
        wire.cut()
        await asyncio.sleep(0.5)

    assert await revoked(deployed, 1, login) == "OK"
    await asyncio.sleep(PAST_BOUND_S)

    assert await validated(deployed, 0, login) == NOT_NOW
    assert await validated(deployed, 1, login) == "SESSION_NOT_ACTIVE"


async def test_killed_before_it_told_the_cache(deployed: Deployment) -> None:
    """A revocation that was committed by an instance that died before it told the cache is not slept through by one
    that is cut off from SQL."""
    login = await in_both_caches(deployed)
    deployed.instances[0].sql.cut()
    deployed.instances[1].arm("Revoke before cache")
    assert await revoked(deployed, 1, login) == "UNAVAILABLE"
    assert await deployed.instances[1].died(within_s=5)
    await deployed.instances[1].start()
    assert await revoked(deployed, 1, login) == "OK"
    await asyncio.sleep(PAST_BOUND_S)

    assert await validated(deployed, 0, login) == NOT_NOW


async def test_cut_off_from_the_cache(deployed: Deployment) -> None:
    """An instance that is cut off from the cache reads SQL, and its revocations count at the other at once."""
    login = await in_both_caches(deployed)
    deployed.instances[1].cache.cut()

    assert await validated(deployed, 1, login) == "OK"
    assert await revoked(deployed, 1, login) == "OK"

    async def refused() -> bool:
        return await validated(deployed, 0, login) == "SESSION_NOT_ACTIVE"

    await until(refused, within_s=1.0)


async def test_paused(deployed: Deployment) -> None:
    """An instance that stood still for longer than a view may be old answers from SQL when it goes on, not from what
    it knew: no answer after the pause says that a session is good which was revoked during it."""
    login = await in_both_caches(deployed)
    deployed.instances[0].pause()
    waiting = [asyncio.create_task(validated(deployed, 0, login)) for _ in range(8)]
    assert await revoked(deployed, 1, login) == "OK"
    deployed.instances[0].cache.stall()  # what is left of the cache's replies comes late, too
    await asyncio.sleep(PAST_BOUND_S)

    deployed.instances[0].resume()
    resumed = time.monotonic()
    deployed.instances[0].cache.heal()
    after = [await validated(deployed, 0, login) for _ in range(8)]

    assert set(after) == {"SESSION_NOT_ACTIVE"}
    assert time.monotonic() - resumed < 2
    assert "OK" not in await asyncio.gather(*waiting)
