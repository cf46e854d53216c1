"""Instances that come and go under load, and what a client with the shipped service config sees of it: nothing."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from authsvc.stores.embedded import EmbeddedValkey
from authsvc.stores.migrations import upgrade_to_head
from authsvc_client import Verifier, Watcher
from tests.parts import processes
from tests.parts.fleet import Caller, Fleet, Load, fleet_of
from tests.parts.postgres import Postgres

_USERS = 6


@pytest.fixture(scope="module")
def database() -> Iterator[Postgres]:
    """A PostgreSQL as instances ask for it: one that waits for the disk."""
    server = Postgres({})
    server.start()
    yield server
    server.remove()


@pytest.fixture(scope="module")
def fleet(
    database: Postgres, shared_valkey: EmbeddedValkey, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Fleet, str]]:
    """Three instances on PostgreSQL and Valkey, and the key of a client that may do everything."""
    directory = tmp_path_factory.mktemp("fleet")
    database_url = database.url("postgres")
    asyncio.run(upgrade_to_head(database_url))
    settings = processes.settings_of(directory, database_url, shared_valkey.url) | {"DRAIN_DELAY": "500ms"}
    key = _all_powerful(settings)
    with fleet_of(settings, 3) as running:
        yield running, key


def _all_powerful(settings: dict[str, str]) -> str:
    permissions = [word for name in ("login", "introspect", "admin") for word in ("--permission", name)]
    created = processes.run(
        *("client", "create", "all", *permissions, "--audience", "orders", "--offline"),
        **processes.offline(settings),
    )
    assert created.returncode == 0, created.stderr
    return created.stdout.strip()


@asynccontextmanager
async def _load(fleet: Fleet, key: str, name: str) -> AsyncIterator[Load]:
    """Users that validate and refresh, and one that logs in and out, all for the length of the block."""
    load, calling = Load(), []
    for number in range(_USERS):
        load.callers.append(caller := Caller(fleet.target, key))
        await caller.sign_up(f"{name}-{number}")
        work = {"validate": caller.validate} if number % 2 else {"refresh": caller.refresh}
        work |= {"login": caller.login_and_out} if number == 0 else {}
        calling += [asyncio.create_task(load.repeat(*each)) for each in work.items()]
    try:
        yield load
    finally:
        load.stopping = True
        await asyncio.gather(*calling)
        for caller in load.callers:
            await caller.channel.close()


async def test_a_rolling_restart_is_not_noticed(fleet: tuple[Fleet, str]) -> None:
    """Three instances restarted one after the other, under load: no call fails, and followers hear every revocation."""
    instances, key = fleet
    verifier = Verifier(processes.ISSUER, "orders")
    async with (
        Watcher(instances.target, key, verifier) as watcher,
        _load(instances, key, "rolling") as load,
    ):
        await watcher.ready(20_000)

        statuses = []
        for port in instances.ports:
            statuses.append(await asyncio.to_thread(instances.stop, port))
            await asyncio.to_thread(instances.start, port)
        newest = max(caller.revision for caller in load.callers)

        await watcher.wait_for_revision(newest, 2_000)
        assert newest > 5
        assert statuses == [0, 0, 0]
    assert load.failed == []
    assert load.done["validate"] > 50
    assert load.done["refresh"] > 50
    assert load.done["login"] > 5


async def test_a_killed_instance_is_gone_within_a_second(fleet: tuple[Fleet, str]) -> None:
    """One of three instances killed -9 under load: what may be repeated never fails, a login for a second at most."""
    instances, key = fleet
    victim = instances.ports[0]
    async with _load(instances, key, "killed") as load:
        while load.done["login"] < 3 or load.done["refresh"] < 20:  # noqa: ASYNC110  others count
            await asyncio.sleep(0.01)
        before = load.done.copy()
        instances.kill(victim)
        killed = time.monotonic()
        while load.done["login"] < before["login"] + 6:  # noqa: ASYNC110  others count
            await asyncio.sleep(0.01)

    assert [each for each in load.failed if each[1] != "login"] == []
    assert all(at - killed <= 1 for at, _, _ in load.failed)
    assert load.done["refresh"] > before["refresh"]
