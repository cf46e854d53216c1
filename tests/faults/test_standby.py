"""PostgreSQL with a synchronous standby: a failover loses nothing that was acknowledged, and needs no restart."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from authsvc.stores.embedded import EmbeddedValkey
from tests.faults.asking import NOT_NOW, allowed
from tests.faults.calling import said
from tests.parts.postgres_pair import PostgresPair, postgres_pair
from tests.parts.service import Service, run_service
from tests.parts.valkey import until

Standing = tuple[Service, PostgresPair]


@pytest.fixture
async def standing(valkey: EmbeddedValkey) -> AsyncIterator[Standing]:
    """An instance over a pair, by one address of both."""
    async with postgres_pair() as pair, run_service(pair.url, valkey.url) as service:
        yield service, pair


async def works_again(service: Service) -> None:
    """Wait until the instance has found the new primary."""

    async def logs_in() -> bool:
        return await said(service.login("alice")) == "OK"

    await until(logs_in, within_s=allowed(2.0))


async def test_failover(standing: Standing) -> None:
    """After a failover everything that was acknowledged is there: sessions, successors, ends. Two seconds after the
    promotion the instance works again by itself."""
    service, pair = standing
    kept, renewed, ended = [await service.login("alice") for _ in range(3)]
    successor = (await service.refresh(renewed.tokens.refresh_token)).tokens.refresh_token
    await service.revoke(token=ended.session_token)

    await pair.fail_over()
    await works_again(service)

    assert await said(service.validate(kept.session_token)) == "OK"
    assert not (await service.refresh(successor)).replayed
    assert await said(service.validate(ended.session_token)) == "SESSION_NOT_ACTIVE"
    assert await said(service.refresh(ended.tokens.refresh_token)) == "REFRESH_TOKEN_NOT_ACTIVE"
    assert (await service.app.stores.log.position()).revision == 1


async def test_standby_that_has_fallen_silent(standing: Standing) -> None:
    """What the standby has not got is not acknowledged, not even when somebody asks again; so a failover takes back
    nothing that anybody was told.

    Guarded by postgresql._Statements: were a commit that waits for the standby cancelled, everybody would see it.
    """
    service, pair = standing
    renewed, ended = await service.login("alice"), await service.login("alice")
    await service.refresh((await service.login("alice")).tokens.refresh_token)  # statements are prepared
    pair.link.stall()

    told = [
        await said(service.refresh(renewed.tokens.refresh_token)),
        await said(service.refresh(renewed.tokens.refresh_token)),
        await said(service.revoke(token=ended.session_token)),
        await said(service.revoke(token=ended.session_token)),
    ]
    await asyncio.sleep(1.0)  # the instance has given its commits up by now
    told.append(await said(service.revoke(token=ended.session_token)))
    await pair.fail_over()
    await works_again(service)

    assert set(told) == {NOT_NOW}
    assert not (await service.refresh(renewed.tokens.refresh_token)).replayed
    assert (await service.revoke(token=ended.session_token)).revoked_count == 1
