"""Rotating for many in one statement, on PostgreSQL: each as if it were alone, and nobody waits for another's row."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from sqlalchemy import select, update

from authsvc.core.contracts import Rotation, StoreUnavailable
from authsvc.core.model import Device, Session
from authsvc.stores.sql import SqlStores, open_stores
from authsvc.stores.sql.schema import audit_events, sessions
from tests.parts.postgres import Postgres
from tests.parts.records import NOW, a_rotation, add_session, an_event, an_order
from tests.parts.sql import PATIENT, audited
from tests.parts.wire import Wire

MANY = 150
PATIENCE_S = 20.0


@pytest.fixture
async def stores(postgres: Postgres, wire: Wire) -> AsyncIterator[SqlStores]:
    """Empty stores behind the wire."""
    opened = open_stores(wire.url(await postgres.empty_migrated()), pool_size=8, limits=PATIENT)
    yield opened
    await opened.close()


async def rotated(stores: SqlStores, *rotations: Rotation) -> list[Session | None]:
    """Rotate all at once; each event tells of its own session and address."""
    events = [
        an_event("rotated", session_id=each.session_id, user_id="", device=each.device) for each in rotations
    ]
    return await asyncio.gather(*map(stores.sessions.rotate, rotations, events))


async def test_many_at_once(stores: SqlStores, wire: Wire) -> None:
    """Each gets its own session, row and audit event, in far fewer round trips than there are rotations."""
    made = [await add_session(stores) for _ in range(MANY)]
    asked = [
        a_rotation(session, device=Device(f"192.0.2.{number}", "a \0 phone", f"number {number}"))
        for number, session in enumerate(made)
    ]
    before = wire.round_trips

    found = await rotated(stores, *asked)

    assert wire.round_trips - before < MANY / 4
    assert [each.id if each else None for each in found] == [session.id for session in made]
    for session, rotation in zip(made, asked, strict=True):
        after = await stores.sessions.get_refresh(session.id)
        assert after is not None
        assert (after[1].refresh_hash, after[1].sealed_successor, after[1].rotated_from.ip_address) == (
            rotation.successor_hash,
            rotation.sealed_successor,
            rotation.device.ip_address,
        )
    event = audit_events.c
    rows = await stores.database.read(
        select(event.session_id, event.user_id, event.ip_address, event.device_label).where(
            event.event == "rotated"
        )
    )
    assert sorted(map(tuple, rows)) == sorted(
        (session.id, session.user_id, rotation.device.ip_address, rotation.device.label)
        for session, rotation in zip(made, asked, strict=True)
    )


async def test_each_is_judged_by_itself(stores: SqlStores) -> None:
    """Those whose row is not as they say get nothing, those beside them what is theirs."""
    good, wrong, revoked, others, over, missing = [await add_session(stores) for _ in range(6)]
    await stores.sessions.revoke(revoked.id, an_order())

    found = await rotated(
        stores,
        a_rotation(wrong, presented_hash=b"x" * 32),
        a_rotation(revoked),
        a_rotation(good),
        a_rotation(others, client_id="other"),
        a_rotation(over, now=NOW + 10**12),
        a_rotation(replace(missing, id="0199b1c4-1111-7222-8333-444455556666")),
        a_rotation(replace(missing, id="not an id")),
    )

    assert [each.id if each else None for each in found] == [None, None, good.id, None, None, None, None]
    assert (await audited(stores)).count("rotated") == 1


async def test_one_session_many_times(stores: SqlStores) -> None:
    """Of several rotations of one session, amid those of others, one wins."""
    one, other = await add_session(stores), await add_session(stores)

    found = await rotated(stores, *(a_rotation(one) for _ in range(5)), a_rotation(other))

    assert [each.id for each in found if each is not None] == [one.id, other.id]


async def test_nobody_waits_for_the_row_of_another(stores: SqlStores) -> None:
    """While somebody holds a row, the others that go with it are rotated; that one is when it is let go.

    Guard: SKIP LOCKED in `rotations._free`.
    """
    held, *free = [await add_session(stores) for _ in range(10)]
    async with asyncio.timeout(PATIENCE_S):
        async with stores.database.write() as transaction:
            await transaction.run(update(sessions).where(sessions.c.id == held.id).values(seen_at=NOW + 1))
            waits = asyncio.create_task(rotated(stores, a_rotation(held)))

            found = await rotated(stores, *map(a_rotation, free))

            assert None not in found
            assert not waits.done()
        assert (await waits)[0] is not None


async def test_connection_lost(stores: SqlStores, wire: Wire) -> None:
    """When the reply is lost, nobody knows of any of them, and nobody is told that it failed or was done."""
    made = [await add_session(stores) for _ in range(5)]
    await stores.ping()
    wire.loses_replies = True

    async def end(session: Session) -> type[BaseException] | None:
        try:
            await stores.sessions.rotate(a_rotation(session), an_event("rotated"))
        except StoreUnavailable as error:
            return type(error)
        return None

    ends = await asyncio.gather(*map(end, made))
    wire.loses_replies = False

    assert ends == [StoreUnavailable] * 5
