"""The cache may lose anything at any time: nobody is logged out by that, and nothing that has ended comes back."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import redis.asyncio

from authsvc.core.contracts import StoreUnavailable
from authsvc.stores.embedded import EmbeddedValkey
from authsvc.v1 import auth_service_pb2 as pb
from tests.parts.service import Service, outcome, run_service
from tests.parts.valkey import until


class Lossy:
    """An instance and its cache, with ways to lose the cache."""

    def __init__(self, service: Service, valkey: EmbeddedValkey) -> None:
        self.service = service
        self.valkey = valkey

    async def flushed(self) -> None:
        """Every key is gone."""
        async with redis.asyncio.Redis.from_url(self.valkey.url) as inside:
            await inside.flushall()

    async def restarted(self) -> None:
        """Another process answers at the same address, and the instance has found it."""
        await self.valkey.kill()
        await self.valkey.start()
        await self.up()

    async def epoch_bumped(self) -> None:
        """The log has declared the whole cache cold, and the instance has read so."""
        await self.service.app.stores.log.bump_epoch()
        await self.service.app._tail.poll()

    async def down(self) -> None:
        """Nobody answers."""
        await self.valkey.kill()
        await until(self._is_down, within_s=5)

    async def up(self) -> None:
        """Wait until the instance has a connection again."""
        await until(self._is_up, within_s=5)

    async def _is_up(self) -> bool:
        try:
            await self.service.app.cache.ping()
        except StoreUnavailable:
            return False
        return True

    async def _is_down(self) -> bool:
        return not await self._is_up()


@pytest.fixture
def lossy(service_on_own: Service, own_valkey: EmbeddedValkey) -> Lossy:
    """An instance with a cache of its own."""
    return Lossy(service_on_own, own_valkey)


LOSSES: dict[str, Callable[[Lossy], Awaitable[None]]] = {
    "flushed": Lossy.flushed,
    "restarted": Lossy.restarted,
    "epoch bumped": Lossy.epoch_bumped,
    "down": Lossy.down,
}


@pytest.mark.parametrize("loss", LOSSES)
async def test_nobody_is_logged_out(lossy: Lossy, loss: str) -> None:
    """Every session is still good after the cache was lost, with every token that it had."""
    service = lossy.service
    logins = [await service.login() for _ in range(3)]
    await service.validate(logins[0].session_token)

    await LOSSES[loss](lossy)

    assert [await outcome(service.validate(login.session_token)) for login in logins * 2] == ["OK"] * 6
    assert await outcome(service.refresh(logins[1].tokens.refresh_token)) == "OK"
    assert (await service.introspect(logins[2].tokens.access_token)).active


@pytest.mark.parametrize("loss", LOSSES)
async def test_nothing_comes_back(lossy: Lossy, loss: str) -> None:
    """A session that was revoked before the cache was lost is refused after it, by every call."""
    service = lossy.service
    login = await service.login()
    await service.revoke(token=login.session_token)

    await LOSSES[loss](lossy)

    for _ in range(2):
        assert await outcome(service.validate(login.session_token)) == "SESSION_NOT_ACTIVE"
    assert await outcome(service.refresh(login.tokens.refresh_token)) == "REFRESH_TOKEN_NOT_ACTIVE"
    assert await service.introspect(login.session_token) == pb.IntrospectResponse()


@pytest.mark.parametrize("loss", LOSSES)
async def test_idle_time_survives(lossy: Lossy, loss: str) -> None:
    """What the cache knew of a session's last use is lost by a quarter of its idle time at most, never gained."""
    service, idle_ms = lossy.service, lossy.service.app.settings.session_idle
    service.clock.stop()
    login = await service.login()
    service.clock.move(idle_ms // 2)
    await service.validate(login.session_token)
    await service.app._last_seen.flush()

    await LOSSES[loss](lossy)
    service.clock.move(idle_ms // 2 + idle_ms // 4)

    found = [await outcome(service.validate(login.session_token))]
    service.clock.move(idle_ms)
    found.append(await outcome(service.validate(login.session_token)))
    assert found == ["OK", "SESSION_NOT_ACTIVE"]


async def test_everything_works_without(lossy: Lossy) -> None:
    """With the cache down one can log in, validate, refresh, introspect and revoke."""
    service = lossy.service
    await lossy.down()

    login = await service.login()
    await service.validate(login.session_token)
    refreshed = await service.refresh(login.tokens.refresh_token)
    introspected = await service.introspect(refreshed.tokens.access_token)
    revoked = await service.revoke(token=login.session_token)

    assert introspected.active
    assert revoked.revoked_count == 1
    assert await outcome(service.validate(login.session_token)) == "SESSION_NOT_ACTIVE"


async def test_revoked_while_down(lossy: Lossy, sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A session revoked while the cache could not be told stays refused when it is back, here and elsewhere.

    The cache here is the very process, with the very record, that could not be reached.
    """
    service = lossy.service
    async with run_service(sqlite_url, lossy.valkey.url) as other:
        login = await service.login()
        await other.validate(login.session_token)
        record = await _records(lossy.valkey)
        monkeypatch.setattr(service.app.cache.sessions, "end", _unreachable)
        await service.revoke(token=login.session_token)
        monkeypatch.undo()

        here = await outcome(service.validate(login.session_token))
        request = pb.ValidateSessionRequest(session_token=login.session_token, min_revision=1)
        there = await outcome(other.auth.ValidateSession(request, metadata=other.by("gateway")))

    assert len(record) == 1
    assert (here, there) == ("SESSION_NOT_ACTIVE", "SESSION_NOT_ACTIVE")
    async with run_service(sqlite_url, lossy.valkey.url) as started_later:
        assert await outcome(started_later.validate(login.session_token)) == "SESSION_NOT_ACTIVE"


async def test_old_record_put_back(lossy: Lossy, sqlite_url: str) -> None:
    """Even the very record of a live session, put back into the cache after its revocation, is not believed."""
    service = lossy.service
    login = await service.login()
    records = await _records(lossy.valkey)
    await service.revoke(token=login.session_token)
    async with redis.asyncio.Redis.from_url(lossy.valkey.url) as inside:
        await inside.mset(records)

    here = await outcome(service.validate(login.session_token))
    async with run_service(sqlite_url, lossy.valkey.url) as started_later:
        there = await outcome(started_later.validate(login.session_token))

    assert len(records) == 1
    assert (here, there) == ("SESSION_NOT_ACTIVE", "SESSION_NOT_ACTIVE")


async def test_epoch_makes_records_cold(lossy: Lossy) -> None:
    """After a new epoch an old record is not even looked at, so a record that lies tells no lies any more."""
    service = lossy.service
    login = await service.login()
    async with redis.asyncio.Redis.from_url(lossy.valkey.url) as inside:
        (key,) = [key async for key in inside.scan_iter("as:*")]
        await inside.set(key, b"-")
        assert await outcome(service.validate(login.session_token)) == "SESSION_NOT_ACTIVE"

        await lossy.epoch_bumped()

        assert await outcome(service.validate(login.session_token)) == "OK"


async def test_cache_that_cannot_be_told_goes_cold(lossy: Lossy) -> None:
    """A revocation that the cache could not be told of moves the epoch, and one that it was told of does not."""
    service = lossy.service
    first, second = await service.login(), await service.login()

    await service.revoke(token=first.session_token)
    told = (await service.app.stores.log.position()).epoch
    await lossy.down()
    await service.revoke(token=second.session_token)

    assert told == 1
    assert (await service.app.stores.log.position()).epoch == 2


async def _unreachable(_hashes: object) -> None:
    raise StoreUnavailable


async def _records(valkey: EmbeddedValkey) -> Any:
    async with redis.asyncio.Redis.from_url(valkey.url) as inside:
        return {key: await inside.get(key) async for key in inside.scan_iter("as:*")}
