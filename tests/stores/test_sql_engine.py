"""Connections: addresses, what counts as unavailable, places in the pool, and calls that are cancelled midway."""

import asyncio
import sqlite3
import threading
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import bindparam, text, update
from sqlalchemy.engine import make_url

from authsvc.core.contracts import StoreUnavailable
from authsvc.stores.sql import Limits, RuleBroken, SqlStores, UnknownDatabase, address, open_stores
from authsvc.stores.sql.schema import sessions
from tests.parts.postgres import Postgres
from tests.parts.records import NOW, a_rotation, add_session, add_user, an_event, an_order
from tests.parts.sql import PATIENT, audited
from tests.parts.valkey import until

SHORT = Limits(command_ms=1_000, connect_ms=10_000, pool_ms=300)
SLEEP = text("SELECT pg_sleep(30)")
OTHERS_IN_TRANSACTION = text(
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
    " AND pid <> pg_backend_pid() AND state <> 'idle'"
)


@pytest.mark.parametrize(
    ("given", "driver"),
    [
        ("postgresql://user:secret@db/auth", "postgresql+asyncpg"),
        ("postgres://db/auth?sslmode=verify-full", "postgresql+asyncpg"),
        ("postgresql+asyncpg://db/auth", "postgresql+asyncpg"),
        ("sqlite:///auth.db", "sqlite+aiosqlite"),
        ("sqlite+aiosqlite:////var/lib/auth.db", "sqlite+aiosqlite"),
    ],
)
def test_address(given: str, driver: str) -> None:
    """The usual ways to write an address are understood, without naming a driver."""
    assert address.parse(given).drivername == driver


@pytest.mark.parametrize(
    "given",
    [
        "",
        "secret",
        "mysql://user:secret@db/auth",
        "sqlite://",
        "sqlite:///:memory:",
        "postgresql://a:b:secret",
    ],
)
def test_address_refused(given: str) -> None:
    """Any other address is refused before anything is opened, in words that do not repeat it."""
    with pytest.raises(UnknownDatabase) as refused:
        open_stores(given)

    assert "secret" not in str(refused.value)


def test_dsn_is_what_was_given() -> None:
    """The driver gets what was given: libpq's parameters, and odd characters in a password."""
    given = "postgresql://user:p%40ss%2Fword@db:5433/auth?sslmode=require&target_session_attrs=primary"

    assert address.dsn(address.parse(given)) == given


@pytest.mark.parametrize(
    "given",
    [
        "postgresql://u:p@one:1,other:2/db?sslmode=disable",
        "postgresql://u:p@/db?host=one:1,other:2&sslmode=disable",
    ],
)
def test_several_hosts(given: str) -> None:
    """Of several hosts each has an address of its own, and only the primary of the moment will do."""
    hosts = [address.dsn(each) for each in address.of_each_host(address.parse(given))]

    assert [make_url(host).query["host"] for host in hosts] == ["one:1", "other:2"]
    assert {make_url(host).query["target_session_attrs"] for host in hosts} == {"primary"}
    assert {make_url(host).query["sslmode"] for host in hosts} == {"disable"}


def test_one_host() -> None:
    """One host is asked whatever it is."""
    given = address.parse("postgresql://u:p@one:1/db")

    assert address.of_each_host(given) == [given]


@pytest.mark.parametrize(
    "url", ["postgresql://nobody@127.0.0.1:1/none", "postgresql:///x?host={}", "sqlite:///{}"]
)
async def test_nothing_there(tmp_path: Path, url: str) -> None:
    """A database that cannot be reached is unavailable, whatever its kind and the reason."""
    others = _workers()
    stores = open_stores(url.format(tmp_path), limits=SHORT)

    with pytest.raises(StoreUnavailable):
        await stores.ping()

    await stores.close()
    await until(lambda: _only(others), within_s=5)


async def test_refused_by_the_server(postgres: Postgres) -> None:
    """A server that answers but lets us in nowhere is unavailable too."""
    stores = open_stores(postgres.url("no_such_database"))

    with pytest.raises(StoreUnavailable):
        await stores.ping()

    await stores.close()


async def test_server_restarts(own_postgres: Postgres) -> None:
    """While the server is away calls are unavailable; once it is back they work, and what was acknowledged is there."""
    stores = open_stores(own_postgres.url(await own_postgres.empty_migrated()))
    session = await add_session(stores)

    own_postgres.stop()
    with pytest.raises(StoreUnavailable):
        await stores.sessions.rotate(a_rotation(session), an_event())
    own_postgres.start()

    assert await stores.sessions.get(session.id) == session
    await stores.close()


async def test_idle_connections_die_unnoticed(own_postgres: Postgres) -> None:
    """A restart between two calls is not noticed by the second: connections known to be closed are replaced first."""
    stores = open_stores(own_postgres.url(await own_postgres.empty_migrated()))
    await asyncio.gather(*(stores.ping() for _ in range(5)))

    own_postgres.stop()
    own_postgres.start()
    for _ in range(3):
        await asyncio.sleep(0)  # lets the driver see that the connections were closed

    await asyncio.gather(*(stores.ping() for _ in range(5)))
    await stores.close()


async def test_statement_takes_too_long(postgres_url: str) -> None:
    """A statement that does not end in time is unavailable, and its connection is of use again."""
    stores = open_stores(postgres_url, pool_size=1, limits=SHORT)

    with pytest.raises(StoreUnavailable):
        await stores.database.read(SLEEP)

    await stores.ping()
    await stores.close()


async def test_no_place_in_the_pool(postgres_url: str) -> None:
    """When every connection is taken, a call waits no longer than the limit."""
    stores = open_stores(postgres_url, pool_size=1, limits=SHORT)

    async with stores.database.write():
        with pytest.raises(StoreUnavailable):
            await stores.ping()

    await stores.ping()
    await stores.close()


async def test_revocations_have_places_of_their_own(postgres_url: str) -> None:
    """Revocations get through when all other connections are taken, whichever call makes them, with all that has to be
    looked up for them; and the log is followed. (Guard: `Place`.)"""
    stores = open_stores(postgres_url, pool_size=1, limits=SHORT)
    user = await add_user(stores)
    own = [await add_session(stores, user) for _ in range(3)]

    async with stores.database.write():
        assert await stores.sessions.get(own[0].id, urgent=True) == own[0]
        assert await stores.sessions.get_by_session_hash(b"?" * 32, urgent=True) is None
        await stores.sessions.revoke(own[0].id, an_order())
        await stores.sessions.revoke_user(user.id, an_order(), keep_session_id=own[1].id)
        await stores.log.bump_epoch()
        await stores.users.disable(user.id, an_order())
        assert len(await stores.log.list_since(0, 10)) == 3

    await stores.close()


async def test_sqlite_locked_by_another_process(sqlite_url: str, tmp_path: Path) -> None:
    """While another process writes to the file for too long, writing is unavailable and reading goes on."""
    stores = open_stores(sqlite_url, limits=SHORT)
    session = await add_session(stores)
    with closing(sqlite3.connect(tmp_path / "authsvc.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")

        with pytest.raises(StoreUnavailable):
            await stores.sessions.revoke(session.id, an_order())

        assert await stores.sessions.get(session.id) == session
    await stores.sessions.revoke(session.id, an_order())
    await stores.close()


async def test_sqlite_keeps_what_it_says(sqlite_url: str) -> None:
    """Every SQLite connection waits for the disk at each commit, checks foreign keys, and reads beside the writer."""
    stores = open_stores(sqlite_url)
    pragmas = {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 2000}

    for name, value in pragmas.items():
        async with stores.database.write() as transaction:
            [[written]] = await transaction.run(text(f"PRAGMA {name}"))
        [[read]] = await stores.database.read(text(f"PRAGMA {name}"))
        assert (written, read) == (value, value)

    await stores.close()


async def test_mistakes_are_not_hidden(stores: SqlStores) -> None:
    """A statement that breaks a rule of the schema is our mistake, not an outage; its values stay out of the text."""
    session = await add_session(stores)
    unfit = update(sessions).values(refresh_hash=bindparam("hash"))

    with pytest.raises(RuleBroken) as raised:
        await stores.database.change(unfit, {"hash": b"only-a-few-bytes"})

    assert "only-a-few-bytes" not in str(raised.value)
    assert await stores.sessions.get(session.id) == session


async def test_rolls_back(stores: SqlStores) -> None:
    """A transaction whose block raises leaves nothing behind, and the error goes on as it is."""
    session = await add_session(stores)

    async def fail() -> None:
        async with stores.database.write() as transaction:
            await transaction.run(text("DELETE FROM sessions"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()

    assert await stores.sessions.get(session.id) == session


@pytest.mark.parametrize("steps", [*range(12), 16, 24, 32, 48, 64, 96, 128])
async def test_cancelled_midway(database_url: str, steps: int) -> None:
    """A call cancelled at any point leaves no connection taken, no transaction open and no lock held."""
    stores = open_stores(database_url, pool_size=1, reserved_size=1, limits=PATIENT)
    session, other = await add_session(stores), await add_session(stores)
    calls: list[Callable[[], Awaitable[object]]] = [
        lambda: stores.sessions.rotate(a_rotation(session), an_event()),
        lambda: stores.sessions.revoke(session.id, an_order()),
        lambda: stores.sessions.get(session.id),
        lambda: stores.sessions.touch({session.id: NOW + 1}),
    ]

    for call in calls:
        task = asyncio.ensure_future(call())
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])

    async with asyncio.timeout(15):
        assert await stores.sessions.rotate(a_rotation(other), an_event()) is not None
        assert (await stores.sessions.revoke(other.id, an_order())).revision > 0
    found = await stores.sessions.get(session.id)
    assert found is not None
    revoked = found.revoked_at is not None
    assert (await stores.log.position()).revision == 1 + revoked
    assert (await audited(stores)).count("session.revoked") == 1 + revoked
    await stores.close()


async def test_cancelled_while_waiting_for_a_place(postgres_url: str) -> None:
    """Calls cancelled at the very moment a connection becomes free leave it to the next."""
    stores = open_stores(postgres_url, pool_size=1, limits=PATIENT)
    for leave in range(6):
        async with stores.database.write():
            waiting = [asyncio.create_task(stores.ping()) for _ in range(10)]
            await asyncio.sleep(0)
        for _ in range(leave):
            await asyncio.sleep(0)
        for task in waiting:
            task.cancel()
        await asyncio.wait(waiting)

        await stores.ping()
    await stores.close()


async def test_cancelled_while_waiting_for_a_lock(postgres_url: str) -> None:
    """A call cancelled while it waits in the database for a lock lets go of everything it holds."""
    stores = open_stores(postgres_url, pool_size=2, reserved_size=1, limits=PATIENT)
    session, other = await add_session(stores), await add_session(stores)
    async with stores.database.write() as transaction:
        await transaction.run(text("SELECT 1 FROM log_state FOR UPDATE"))
        waiting = asyncio.create_task(stores.sessions.revoke(session.id, an_order()))
        await until(lambda: _in_transaction(stores, 2), within_s=5)

        waiting.cancel()
        await asyncio.wait([waiting])

    assert waiting.cancelled()
    assert await stores.sessions.get(session.id) == session
    assert (await stores.sessions.revoke(other.id, an_order())).revision == 1
    await until(lambda: _in_transaction(stores, 0), within_s=5)
    await stores.close()


async def _in_transaction(stores: SqlStores, count: int) -> bool:
    [[others]] = await stores.database.read(OTHERS_IN_TRANSACTION)
    return bool(others == count)


def _workers() -> set[threading.Thread]:
    """The driver's threads."""
    return {thread for thread in threading.enumerate() if "_connection_worker_thread" in thread.name}


async def _only(others: set[threading.Thread]) -> bool:
    """Whether our own have ended; one whose connection failed takes a moment longer than its caller."""
    return _workers() <= others
