"""The audit log, on each database."""

import asyncio
from dataclasses import replace

import pytest
from sqlalchemy import select

from authsvc.core.audit_contract import EventFilter
from authsvc.core.audit_retention import AuditRetention
from authsvc.core.clock import DAY
from authsvc.core.model import AuditEvent, Device
from authsvc.stores.sql import SqlStores, open_stores
from authsvc.stores.sql.schema import audit_events
from tests.parts.records import NOW, an_event
from tests.parts.sql import PATIENT, audited

EVERYTHING = EventFilter()


async def record(stores: SqlStores, *events: AuditEvent) -> list[AuditEvent]:
    """Write events; return them as numbered."""
    for event in events:
        await stores.audit.record(event)
    return list(await stores.audit.list_after(EVERYTHING, 1000, 0))


async def test_comes_back_as_it_was(stores: SqlStores) -> None:
    """An event comes back whole, with a number."""
    event = AuditEvent(
        "token.reused", NOW, "web", "u", "s", "web", Device("192.0.2.1", "agent", "phone"), "why"
    )
    event = replace(event, other_device=Device("2001:db8::1", "another"), other_at=NOW - 1)

    [found] = await record(stores, event)

    assert found == replace(event, id=found.id)
    assert found.id > 0


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (EventFilter(user_id="u1"), ["d", "a"]),
        (EventFilter(session_id="s1"), ["c"]),
        (EventFilter(event="b"), ["b"]),
        (EventFilter(event="token.rotated"), ["token.rotated"]),
        (EventFilter(start_at=NOW + 2), ["token.rotated", "d", "c"]),
        (EventFilter(end_at=NOW + 2), ["b", "a"]),
        (EventFilter(user_id="u1", event="a", start_at=NOW, end_at=NOW + 1), ["a"]),
        (EventFilter(user_id="u1", session_id="s1"), []),
        (EventFilter(event="' OR 1=1 --"), []),
    ],
)
async def test_filters(stores: SqlStores, wanted: EventFilter, expected: list[str]) -> None:
    """Each filter leaves what it names, and together they leave what all of them do; the bounds of a time are
    'from' and 'before'."""
    await record(
        stores,
        an_event("a", user_id="u1"),
        an_event("b", happened_at=NOW + 1),
        an_event("c", happened_at=NOW + 2, session_id="s1"),
        an_event("d", happened_at=NOW + 3, user_id="u1"),
        an_event("token.rotated", happened_at=NOW + 4),
    )

    newest_first = await stores.audit.list(wanted, 10, None)
    following = await stores.audit.list_after(wanted, 10, 0)

    assert [event.event for event in newest_first] == expected
    assert [event.event for event in following] == expected[::-1]


async def test_pages_are_stable(stores: SqlStores) -> None:
    """Pages go on below the one before, events of one moment included, whatever is written meanwhile."""
    written = await record(stores, *(an_event(happened_at=NOW + at) for at in (5, 1, 5, 5, 3, 5, 9)))
    found: list[AuditEvent] = []
    before = None

    while page := await stores.audit.list(EVERYTHING, 2, before):
        found += page
        before = (page[-1].happened_at, page[-1].id)
        await stores.audit.record(an_event("later", happened_at=NOW + 10))

    assert found == sorted(written, key=lambda event: (event.happened_at, event.id), reverse=True)


async def test_following(stores: SqlStores) -> None:
    """Following goes by number, not by time, so that a clock that is behind hides nothing."""
    first = await record(stores, an_event("a"), an_event("b", happened_at=NOW - 60_000))

    after_first = await stores.audit.list_after(EVERYTHING, 10, first[0].id)
    one = await stores.audit.list_after(EVERYTHING, 1, 0)

    assert [event.event for event in after_first] == ["b"]
    assert [event.event for event in one] == ["a"]


async def test_forget(stores: SqlStores) -> None:
    """Only what is older goes, the oldest first, and at most so many at once."""
    await record(stores, *(an_event(str(at), happened_at=NOW + at) for at in (3, 1, 0, 2)))

    counts = [await stores.audit.forget(NOW + 3, 2)]
    left = [event.event for event in await stores.audit.list(EVERYTHING, 10, None)]
    counts += [await stores.audit.forget(NOW + 3, 2) for _ in range(2)]

    assert left == ["3", "2"]
    assert counts == [2, 1, 0]
    assert await audited(stores) == ["3"]


async def test_forgetting_side_by_side(stores: SqlStores) -> None:
    """Instances that forget at the same time share the work: each event is deleted by one of them."""
    await record(stores, *(an_event() for _ in range(40)))

    counts = await asyncio.gather(*(stores.audit.forget(NOW + 1, 10) for _ in range(8)))

    assert sum(counts) == 40 - len(await audited(stores))
    assert max(counts) == 10


async def test_forgetting_waits_for_nobody(postgres_url: str) -> None:
    """On PostgreSQL what another instance is deleting is passed over. (Guard: `skip_locked` in `audit._free`.)"""
    stores = open_stores(postgres_url, limits=PATIENT)
    await record(stores, *(an_event(str(at), happened_at=NOW + at) for at in range(4)))
    oldest = select(audit_events.c.id).where(audit_events.c.happened_at < NOW + 2).with_for_update()

    async with stores.database.write() as transaction, asyncio.timeout(5):
        await transaction.run(oldest)
        count = await stores.audit.forget(NOW + 10, 10)

    assert count == 2
    assert await audited(stores) == ["0", "1"]
    await stores.close()


async def test_retention(stores: SqlStores) -> None:
    """Events are kept for as long as asked for, to the millisecond, or for ever."""
    await record(stores, an_event("old"), an_event("new", happened_at=NOW + 1))

    more = [
        await AuditRetention(stores.audit, kept, lambda: NOW + DAY + 1).step() for kept in (0, DAY + 2, DAY)
    ]

    assert more == [None, None, 1]
    assert await audited(stores) == ["new"]
