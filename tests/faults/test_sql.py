"""The third row of the table in docs/failures.md: SQL in every kind of trouble. Not now, never wrong, never burnt."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

import grpc
import pytest

from authsvc.v1 import auth_service_pb2 as pb
from tests.faults.asking import LATE, NOT_NOW, Asking, allowed, recovers, timed
from tests.faults.calling import said

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.xdist_group("faults of sql")]

TROUBLES = [
    "killed",
    "silent",
    pytest.param("cut", marks=LATE),
    pytest.param("losing replies", marks=LATE),
]


async def bring_about(asking: Asking, trouble: str) -> None:
    """SQL does not answer."""
    if trouble == "killed":
        await asyncio.to_thread(asking.deployment.sql.kill)
    for instance in asking.instances:
        match trouble:
            case "silent":
                instance.sql.stall()
            case "cut":
                instance.sql.cut()
            case "losing replies":
                instance.sql.lose_replies()


@pytest.mark.parametrize("trouble", TROUBLES)
async def test_not_now(asking: Asking, trouble: str) -> None:
    """Without SQL: no login, no refresh, no revocation is acknowledged, and none of them burns anything; cached
    sessions and access tokens go on. Two seconds after its return all is well."""
    login = await asking.in_every_cache()
    cold = await asking.log_in()
    await asking.deployment.cache.flush()
    assert await asking.validate(0, login) == "OK"
    await bring_about(asking, trouble)

    known = await asking.validate(1, login)
    introspected = await said(asking.introspect(1, login.tokens.access_token))
    refused = await asyncio.gather(
        asking.login(0),
        said(asking.refresh(0, login.tokens.refresh_token)),
        asking.revoke(0, login),
        asking.list_users(1),
        asking.validate(1, cold),
    )

    assert set(refused) == {NOT_NOW}
    assert known == "OK"
    assert introspected in ("OK", "VIEW_TOO_OLD")  # the latter on a machine that took so long
    await asking.deployment.mend()
    await recovers(lambda: asking.login(0))
    assert await asking.validate(0, cold) == "OK"
    if trouble != "losing replies":  # there the revocation may have been committed
        assert await asking.validate(0, login) == "OK"
        assert not (await asking.refresh(1, login.tokens.refresh_token)).replayed


async def test_slow(asking: Asking) -> None:
    """With slow SQL everything works, only slower."""
    for instance in asking.instances:
        instance.sql.delay(0.03)

    login = await asking.log_in()
    renewed = await asking.refresh(1, login.tokens.refresh_token)

    assert await asking.validate(1, login) == "OK"
    assert await asking.revoke(1, login) == "OK"
    assert await asking.introspect(1, renewed.tokens.access_token) is False


@pytest.mark.parametrize("trouble", ["killed", pytest.param("silent", marks=LATE)])
async def test_recovers_without_restart(asking: Asking, trouble: str) -> None:
    """Back to normal within two seconds of SQL's return, at every instance and for every kind of call."""
    login = await asking.log_in()
    await bring_about(asking, trouble)
    await asyncio.gather(*(asking.login(number % 2) for number in range(16)))
    if trouble == "killed":
        await asyncio.to_thread(asking.deployment.sql.start)
    asking.deployment.heal()

    await asyncio.gather(recovers(lambda: asking.login(0)), recovers(lambda: asking.login(1)))

    assert await asking.validate(1, login) == "OK"
    assert await asking.revoke(0, login) == "OK"


async def test_lost_replies_are_read_back(asking: Asking) -> None:
    """A refresh whose reply was lost between SQL and the instance is not lost to its caller: the same token gets the
    one successor."""
    login, warm = await asking.log_in(), await asking.log_in()
    await asking.refresh(0, warm.tokens.refresh_token)  # so that the next one is a single statement
    asking.instances[0].sql.lose_replies()
    first = await said(asking.refresh(0, login.tokens.refresh_token))
    asking.instances[0].sql.reset()
    asking.instances[0].sql.heal()

    again = await asking.refresh(1, login.tokens.refresh_token)
    third = await asking.refresh(1, login.tokens.refresh_token)

    assert first == NOT_NOW
    assert again.replayed
    assert third.tokens.refresh_token == again.tokens.refresh_token


async def test_pool_exhausted(asking: Asking) -> None:
    """When every ordinary connection is taken, what ends a session still gets through, and the log is followed; the
    others hear "not now" within their deadline."""
    login, other = await asking.log_in(), await asking.in_every_cache()
    sql = asking.deployment.sql
    holding = asyncio.create_task(sql.hold("users", 3.0))
    await asyncio.sleep(0.2)
    logins = [asyncio.create_task(timed(asking.login(0, timeout=5.0))) for _ in range(24)]
    await asyncio.sleep(0.3)

    revoked, took = await timed(asking.revoke(0, login))
    listed = await asking.list_users(0, timeout=1.0)
    cached = await asking.validate(0, other)
    refused_there = await asking.validate(1, login)
    outcomes = await asyncio.gather(*logins)
    await holding

    assert revoked == "OK"
    assert took < allowed(1.0)
    assert listed in (NOT_NOW, "DEADLINE_EXCEEDED")
    assert (cached, refused_there) == ("OK", "SESSION_NOT_ACTIVE")
    assert NOT_NOW in {outcome for outcome, _ in outcomes}
    assert max(seconds for _, seconds in outcomes) < 5.0 + allowed(0.3)


async def test_holder_stands_still(asking: Asking) -> None:
    """An instance that stands still in the middle of a revocation does not hold up the others' for longer than a
    second or so: SQL ends its transaction."""
    login = await asking.log_in()
    waiting = asyncio.create_task(asking.revoke(0, login))
    asking.instances[0].sql.back.delay_s = 0.05  # slow enough to be met in the middle
    await asyncio.sleep(0.15)
    asking.instances[0].pause()
    try:
        other = await asking.log_in(1)

        async def revoked() -> str:
            return await asking.revoke(1, other)

        outcome, took = await timed(_until_ok(revoked))
    finally:
        asking.instances[0].resume()

    assert outcome == "OK"
    assert took < allowed(2.5)
    with suppress(grpc.RpcError):
        await waiting


async def test_deadline_is_kept(asking: Asking) -> None:
    """With silent SQL a call ends within its deadline; one that brings none within that of its kind."""
    login = await asking.log_in()
    for instance in asking.instances:
        instance.sql.stall()
    auth = asking.instances[0].auth
    endless = pb.RevokeRequest(token=login.session_token)

    with_deadline = [
        asking.login(0, timeout=0.4),
        asking.revoke(0, login, timeout=0.4),
        asking.list_users(0, timeout=0.4),
        said(asking.refresh(0, login.tokens.refresh_token, timeout=0.4)),
    ]
    times = [seconds for _, seconds in await asyncio.gather(*map(timed, with_deadline))]
    ended, took = await timed(said(auth.Revoke(endless, metadata=asking.deployment.metadata("web"))))

    assert max(times) < 0.4 + allowed(0.2)
    assert ended == NOT_NOW
    assert took < 2.0 + allowed(0.5)


async def _until_ok(ask: Callable[[], Awaitable[str]]) -> str:
    while (outcome := await ask()) != "OK":  # noqa: ASYNC110  another process changes it
        await asyncio.sleep(0.05)
    return outcome
