"""The revocation log, on each database."""

import pytest

from authsvc.core.model import LogPosition, Revocation, Subject
from authsvc.stores.sql import SqlStores, revocations
from tests.parts.records import NOW, add_session, an_order


async def append(stores: SqlStores, *expires_at: int) -> None:
    """Write entries that live until the given times."""
    entries = [Revocation(0, Subject.USER, "somebody", NOW, at) for at in expires_at]
    async with stores.database.write() as transaction:
        await revocations.append(transaction, entries)


async def snapshot(stores: SqlStores, now: int) -> tuple[LogPosition, list[int]]:
    """The position of a snapshot, and the revisions in it."""
    position, pages = await stores.log.snapshot(now)
    return position, [entry.revision async for page in pages for entry in page]


async def test_begins_empty(stores: SqlStores) -> None:
    """A new log has revision 0 and no entries."""
    assert await stores.log.position() == LogPosition(revision=0, epoch=1, registry=0)
    assert await stores.log.list_since(0, 10) == []
    assert await snapshot(stores, NOW) == (LogPosition(0, 1, 0), [])


async def test_list_since(stores: SqlStores) -> None:
    """Entries are listed whole, in order, from the one after the given revision."""
    session = await add_session(stores)
    await append(stores, NOW + 1, NOW + 2)
    revoked = await stores.sessions.revoke(session.id, an_order())

    first = await stores.log.list_since(0, 2)
    rest = await stores.log.list_since(2, 2)

    assert first == [Revocation(n, Subject.USER, "somebody", NOW, NOW + n) for n in (1, 2)]
    assert rest == list(revoked.entries)
    assert await stores.log.list_since(3, 2) == []


async def test_snapshot_has_the_live(stores: SqlStores) -> None:
    """A snapshot has the entries unexpired at the time, to the millisecond."""
    await append(stores, NOW - 1, NOW, NOW + 1)

    assert (await snapshot(stores, NOW))[1] == [3]


async def test_snapshot_stays_as_it_was(stores: SqlStores, monkeypatch: pytest.MonkeyPatch) -> None:
    """Entries written while the pages of a snapshot are read are not in it: list_since its position has them."""
    monkeypatch.setattr(revocations, "_PAGE", 2)
    await append(stores, *[NOW + 1] * 5)
    position, pages = await stores.log.snapshot(NOW)

    read = [[entry.revision for entry in await anext(pages)]]
    await append(stores, NOW + 1)
    read += [[entry.revision for entry in page] async for page in pages]

    assert position.revision == 5
    assert read == [[1, 2], [3, 4], [5]]
    assert [entry.revision for entry in await stores.log.list_since(5, 10)] == [6]


async def test_bump_epoch(stores: SqlStores) -> None:
    """Each bump moves the epoch, and only that."""
    epochs = [await stores.log.bump_epoch() for _ in range(2)]

    assert epochs == [2, 3]
    assert await stores.log.position() == LogPosition(revision=0, epoch=3, registry=0)
