"""What the databases make of our statements: indexes used, and nothing secret kept."""

from typing import Any

import pytest
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from authsvc.core.audit_contract import EventFilter
from authsvc.core.model import Revocation, Subject
from authsvc.stores.sql import SqlStores, address, revocations
from authsvc.stores.sql.compiled import NO_VALUES, Compiled, Values, insert_whole
from authsvc.stores.sql.rows import event_values, session_values, user_values
from authsvc.stores.sql.schema import (
    audit_events,
    metadata,
    recovery_codes,
    second_factors,
    sessions,
    users,
)
from tests.parts.records import (
    NOW,
    a_rotation,
    a_session,
    a_user,
    add_session,
    an_event,
    an_order,
    hash_of,
    refresh_hash_of,
    tokens_of,
)

ENOUGH = 2_000  # rows for PostgreSQL to prefer an index where there is one
READ_WHOLE = ("Seq Scan on ", "SCAN ")
# One row, a few that everybody wants all of, and results of other parts of the statement.
SMALL = ("log_state", "deployment", "changed", "anon_1", "CONSTANT ROW")

Spoken = list[tuple[str, list[Any]]]


@pytest.fixture
def spoken(monkeypatch: pytest.MonkeyPatch) -> Spoken:
    """Every statement with its values, as it goes to the driver."""
    heard: Spoken = []
    arguments = Compiled.arguments

    def listen(compiled: Compiled, values: Values = NO_VALUES) -> list[Any]:
        heard.append((compiled.sql, arguments(compiled, values)))
        return heard[-1][1]

    monkeypatch.setattr(Compiled, "arguments", listen)
    return heard


def a_factor(user_id: str) -> dict[str, Any]:
    """A second factor as it is stored."""
    return {
        "user_id": user_id,
        "sealed_secret": b"sealed",
        "confirmed_at": NOW,
        "last_step": 0,
        "pending_secret": None,
        "pending_at": None,
        "failures": 0,
        "blocked_until": 0,
    }


async def fill(stores: SqlStores) -> None:
    """Put in many users with a session each, and many revocations and events."""
    many = [a_user() for _ in range(ENOUGH)]
    begun = [a_session(user) for user in many]
    events = [
        an_event(
            "token.rotated" if n % 100 else "token.reused",
            happened_at=NOW + n,
            user_id=session.user_id,
            session_id=session.id,
        )
        for n, session in enumerate(begun)
    ]
    entries = [Revocation(0, Subject.SESSION, session.id, None, NOW) for session in begun]
    async with stores.database.write() as transaction:
        await transaction.run_many(insert_whole(users), [user_values(user, user.id, "x") for user in many])
        await transaction.run_many(
            insert_whole(sessions), [session_values(each, tokens_of(each)) for each in begun]
        )
        await revocations.append(transaction, entries)
        await transaction.run_many(insert_whole(audit_events), [event_values(event) for event in events])
        await transaction.run_many(insert_whole(second_factors), [a_factor(user.id) for user in many])
        await transaction.run_many(
            insert_whole(recovery_codes), [{"user_id": user.id, "code_hash": hash_of(5)} for user in many]
        )
        await transaction.run(text("ANALYZE"))


async def plan(connection: AsyncConnection, statement: str, values: list[Any]) -> list[str]:
    """The steps by which the database would run a statement."""
    explain = "EXPLAIN " if connection.dialect.name == "postgresql" else "EXPLAIN QUERY PLAN "
    rows = await connection.exec_driver_sql(explain + statement, tuple(values))
    return [str(row[-1]) for row in rows]


async def use_everything(stores: SqlStores) -> None:
    """Call whatever looks for something, once."""
    session = await add_session(stores)
    await stores.sessions.get(session.id)
    await stores.sessions.get_by_session_hash(hash_of(1))
    await stores.sessions.get_refresh(session.id)
    await stores.sessions.rotate(a_rotation(session), an_event())
    await stores.sessions.replay(session.id, "web", refresh_hash_of(session, 0), 0, NOW, 3, NOW, an_event())
    await stores.sessions.list_user(session.user_id, 10, (NOW + 1, session.id), NOW)
    await stores.sessions.touch({session.id: NOW + 1})
    await stores.sessions.revoke(session.id, an_order())
    await stores.sessions.revoke_user(session.user_id, an_order())
    await stores.users.get(session.user_id)
    await stores.users.get_secret("zoë")
    await stores.users.list(10, "m")
    await stores.users.rehash(session.user_id, "x", "y")
    await stores.users.set_password(session.user_id, "x", an_order())
    await stores.sessions.step_up(session.id, ("pwd",), hash_of(2), NOW, an_event())
    await stores.audit.record_once(an_event(session_id=session.id), NOW)
    await use_second_factor(stores, session.user_id)
    await stores.log.list_since(ENOUGH - 10, 10)
    for wanted in (
        EventFilter(),
        EventFilter(user_id=session.user_id),
        EventFilter(user_id=session.user_id, rare=True),
        EventFilter(session_id=session.id),
        EventFilter(event="token.reused"),
        EventFilter(event="token.rotated", start_at=NOW, end_at=NOW + 9),
    ):
        await stores.audit.list(wanted, 10, (NOW + ENOUGH, 1))
    await stores.audit.list_after(EventFilter(), 10, ENOUGH)
    await stores.audit.forget(NOW + 9, 10)
    await stores.audit.count(NOW + 9, 10)
    await stores.housekeeping.count_sessions(NOW, 10)
    await stores.housekeeping.due_sessions(NOW, 10)
    await stores.housekeeping.settle_sessions([session.id], [session.id], NOW)
    await stores.housekeeping.forget_entries(NOW, 10)
    await stores.housekeeping.count_entries(NOW, 10)


async def use_second_factor(stores: SqlStores, user_id: str) -> None:
    """Call whatever looks for a second factor, or a recovery code."""
    factors = stores.second_factors
    await factors.enrol(user_id, b"sealed", NOW, an_event())
    await factors.confirm(user_id, b"sealed", 1, [hash_of(3)], NOW, an_event())
    await factors.get(user_id)
    await factors.count_recovery_codes(user_id)
    await factors.charge(user_id, NOW)
    await factors.accept_step(user_id, b"sealed", 2)
    await factors.use_recovery_code(user_id, hash_of(3), an_event())
    await factors.replace_recovery_codes(user_id, b"sealed", [hash_of(4)], an_event())
    await factors.reseal(user_id, b"sealed", b"resealed")
    await factors.delete(user_id, an_event())


async def read_whole(url: str, spoken: Spoken, *settings: str) -> list[str]:
    """The statements for which the database would read a table from end to end, and the table."""
    found = []
    engine = create_async_engine(address.parse(url))
    async with engine.connect() as connection:
        for setting in settings:
            await connection.exec_driver_sql(setting)
        for statement, values in spoken:
            steps = await plan(connection, statement, values)
            whole = [step for step in steps for scan in READ_WHOLE if scan in step]
            found += [f"{step}: {statement}" for step in whole if not any(name in step for name in SMALL)]
    await engine.dispose()
    return found


async def test_no_table_is_read_whole(stores: SqlStores, database_url: str, spoken: Spoken) -> None:
    """Every statement finds its rows through an index, however many there are."""
    await fill(stores)
    spoken.clear()
    await use_everything(stores)

    # Of the tables that are empty here PostgreSQL would read the one page, index or not.
    settings = ["SET enable_seqscan = off"] if "postgresql" in database_url else []
    assert len(spoken) >= 20
    assert await read_whole(database_url, spoken, *settings) == []


async def test_only_hashes_are_kept(stores: SqlStores) -> None:
    """A dump of every table has tokens as hashes, and as nothing else."""
    session = await add_session(stores)
    await stores.sessions.rotate(a_rotation(session), an_event())

    dump = [
        tuple(row) for table in metadata.sorted_tables for row in await stores.database.read(select(table))
    ]

    words = [f"session token of {session.id}", *(f"refresh token {n} of {session.id}" for n in (0, 1))]
    text_of_dump = repr(dump)
    assert all(repr(hash_of(word)) in text_of_dump for word in words)
    assert not any(word in text_of_dump for word in words)
