"""Removing what is over: what goes, what stays, and whose turn it is."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import select

from authsvc.core.chores import ENTRY_SLACK_MS, EndedSessions, ExpiredEntries
from authsvc.core.clock import DAY, HOUR, MINUTE
from authsvc.core.contracts import StoreUnavailable
from authsvc.core.housekeeping import Chore, Housekeeping
from authsvc.core.model import Revocation, Session, Subject
from authsvc.stores.sql import SqlStores, open_stores
from authsvc.stores.sql.revocations import append
from authsvc.stores.sql.schema import sessions
from authsvc.stores.valkey.none import NoSessions
from tests.parts.records import (
    IDLE,
    NOW,
    REFRESH_IDLE,
    a_rotation,
    add_session,
    add_user,
    an_event,
    an_order,
)
from tests.parts.sql import PATIENT

KEPT = 7 * DAY


class Cache(NoSessions):
    """A cache that remembers what it was told has ended."""

    def __init__(self) -> None:
        self.ended: list[bytes] = []
        self.is_down = False

    async def end(self, session_hashes: Any) -> None:
        if self.is_down:
            raise StoreUnavailable
        self.ended.extend(session_hashes)


async def clean(stores: SqlStores, now: int, cache: Cache | None = None) -> list[int]:
    """Settle all there is to settle at that time; how many were removed in each batch."""
    chore = EndedSessions(stores.housekeeping, cache or Cache(), KEPT, lambda: now)
    removed = []
    while (count := await chore.step()) is not None:
        removed.append(count)
    return removed


async def is_there(stores: SqlStores, session: Session) -> bool:
    """Whether the session is still on record."""
    return await stores.sessions.get(session.id) is not None


async def over_at(stores: SqlStores, session: Session) -> int:
    """When the session is thought to be over."""
    [[at]] = await stores.database.read(select(sessions.c.over_at).where(sessions.c.id == session.id))
    return int(at)


async def test_a_revoked_session_is_kept_for_a_while(stores: SqlStores) -> None:
    """A session goes as long after its revocation as asked for, to the millisecond, and no other with it."""
    user = await add_user(stores)
    revoked, live = await add_session(stores, user), await add_session(stores, user)
    await stores.sessions.revoke(revoked.id, an_order())

    early = await clean(stores, NOW + KEPT)
    late = await clean(stores, NOW + KEPT + 1)

    assert (early, late) == ([], [1])
    assert not await is_there(stores, revoked)
    assert await is_there(stores, live)


async def test_an_unused_session_goes(stores: SqlStores) -> None:
    """A session whose idle deadlines have passed goes, though its absolute ones are far away."""
    session = await add_session(stores)

    early = await clean(stores, NOW + REFRESH_IDLE + KEPT)
    late = await clean(stores, NOW + REFRESH_IDLE + KEPT + 1)

    assert (early, late) == ([], [1])
    assert not await is_there(stores, session)


async def test_a_used_session_stays(stores: SqlStores) -> None:
    """A session that was renewed since it was last looked at stays, and is looked at again when it may be over."""
    session = await add_session(stores)
    renewed_at = NOW + 20 * DAY
    await stores.sessions.rotate(replace(a_rotation(session), now=renewed_at), an_event())

    removed = await clean(stores, NOW + REFRESH_IDLE + KEPT + 1)

    assert removed == [0]
    assert await is_there(stores, session)
    assert await over_at(stores, session) == renewed_at + REFRESH_IDLE


async def test_use_that_only_the_cache_knows_of(stores: SqlStores) -> None:
    """A session token counts as used for one idle time longer than SQL knows, which hears of use late."""
    none = {"refresh_expires_at": None, "refresh_idle_expires_at": None}
    await add_session(stores, session_expires_at=NOW + 90 * DAY, **none)

    early = await clean(stores, NOW + KEPT + 2 * IDLE)
    late = await clean(stores, NOW + KEPT + 2 * IDLE + 1)

    assert (early, late) == ([0], [1])


async def test_what_goes_from_sql_goes_from_the_cache_first(stores: SqlStores) -> None:
    """A session that the cache may still hold is ended there before its row goes; without the cache it stays."""
    cache = Cache()
    session = await add_session(stores, session_expires_at=NOW + 90 * DAY)
    cache.is_down = True

    with pytest.raises(StoreUnavailable):
        await clean(stores, NOW + 60 * DAY, cache)
    kept = await is_there(stores, session)
    cache.is_down = False
    removed = await clean(stores, NOW + 60 * DAY, cache)

    assert kept
    assert removed == [1]
    assert len(cache.ended) == 1


async def test_sessions_of_older_versions(stores: SqlStores) -> None:
    """A row that says nothing about when it will be over is looked at, and found out."""
    session = await add_session(stores)
    async with stores.database.write() as transaction:
        await transaction.run(sessions.update().values(over_at=0))

    removed = await clean(stores, NOW + KEPT)

    assert removed == [0]
    assert await over_at(stores, session) == NOW + REFRESH_IDLE


async def test_housekeeping_waits_for_nobody(postgres_url: str) -> None:
    """On PostgreSQL a session that somebody is changing is passed over. (Guard: `skip_locked` in `_FORGET_SESSION`.)"""
    stores = open_stores(postgres_url, limits=PATIENT)
    session = await add_session(stores)
    await stores.sessions.revoke(session.id, an_order())
    due = await stores.housekeeping.due_sessions(NOW + DAY, 10)

    async with stores.database.write() as transaction, asyncio.timeout(5):
        await transaction.run(select(sessions.c.id).with_for_update())
        await stores.housekeeping.settle_sessions([each.id for each in due], [], NOW + DAY)

    assert len(due) == 1
    assert await is_there(stores, session)
    await stores.close()


async def test_entries_go_when_they_forbid_nothing(stores: SqlStores) -> None:
    """An entry of the log goes once it has expired and a while has passed; a newer position stays what it was."""
    async with stores.database.write() as transaction:
        await append(transaction, [_entry(NOW + DAY), _entry(NOW), _entry(NOW + MINUTE), _entry(NOW + HOUR)])
    chore = ExpiredEntries(stores.housekeeping, lambda: NOW + MINUTE + ENTRY_SLACK_MS + 1)

    backlog = await chore.backlog()
    steps = [await chore.step(), await chore.step()]

    assert (backlog, steps) == (2, [2, None])
    assert [entry.revision for entry in await stores.log.list_since(0, 10)] == [1, 4]
    assert (await stores.log.position()).revision == 4


def _entry(expires_at: int) -> Revocation:
    return Revocation(0, Subject.SESSION, "a session", None, expires_at)


async def test_turns(stores: SqlStores) -> None:
    """One instance has the turn and keeps it; another gets it when the first does not come back, or lets it go."""
    take = stores.housekeeping.take_turn

    first = [await take("one", NOW, NOW + 10), await take("two", NOW + 10, NOW + 20)]
    kept = [await take("one", NOW + 5, NOW + 15), await take("two", NOW + 15, NOW + 25)]
    passed = [await take("two", NOW + 16, NOW + 26), await take("one", NOW + 17, NOW + 27)]

    assert (first, kept, passed) == ([True, False], [True, False], [True, False])


async def test_of_many_at_once_one_has_the_turn(stores: SqlStores) -> None:
    """Of instances that start together exactly one cleans up."""
    taken = await asyncio.gather(
        *(stores.housekeeping.take_turn(f"instance {n}", NOW, NOW + 10) for n in range(8))
    )

    assert sorted(taken) == [False] * 7 + [True]


async def test_rounds(stores: SqlStores) -> None:
    """Who has the turn does every chore and knows what is left; who has it not does nothing."""
    user = await add_user(stores)
    for _ in range(3):
        await stores.sessions.revoke((await add_session(stores, user)).id, an_order())
    clock = NOW + KEPT + 1
    one, two = (_housekeeping(stores, name, clock) for name in ("one", "two"))

    await one.round()
    await two.round()
    await one.release()
    await two.round()

    assert (one.removed["sessions"], two.removed["sessions"]) == (3, 0)
    assert one.backlog == {"sessions": 0, "revocations": 0}
    assert (one.finished_at, two.finished_at) == (clock, clock)
    assert (one.has_turn, two.has_turn) == (False, True)


def _housekeeping(stores: SqlStores, name: str, now: int) -> Housekeeping:
    store = stores.housekeeping
    chores: list[Chore] = [
        EndedSessions(store, Cache(), KEPT, lambda: now),
        ExpiredEntries(store, lambda: now),
    ]
    return Housekeeping(name, store, chores, lambda: now)
