"""What calls cost on the way to PostgreSQL, and what happens when that way breaks in the middle."""

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from authsvc.core.contracts import StoreUnavailable
from authsvc.stores.sql import SqlStores, open_stores
from tests.parts.postgres import Postgres
from tests.parts.records import (
    NOW,
    a_rotation,
    a_session,
    add_session,
    an_event,
    an_order,
    hash_of,
    tokens_of,
)
from tests.parts.sql import PATIENT, audited
from tests.parts.wire import Wire


@pytest.fixture
async def stores(postgres: Postgres, wire: Wire) -> AsyncIterator[SqlStores]:
    """Empty stores behind the wire, of one connection of each kind."""
    opened = open_stores(
        wire.url(await postgres.empty_migrated()), pool_size=1, reserved_size=1, limits=PATIENT
    )
    yield opened
    await opened.close()


async def test_refresh_takes_two(stores: SqlStores, wire: Wire) -> None:
    """Reading the row and rotating it, the audit row included, are a round trip each: no ping, no BEGIN, no COMMIT."""
    session = await add_session(stores)
    await stores.sessions.get_refresh(session.id)
    await stores.sessions.rotate(a_rotation(session), an_event())
    before = wire.round_trips

    await stores.sessions.get_refresh(session.id)
    rotated = await stores.sessions.rotate(a_rotation(session, 1), an_event())

    assert rotated is not None
    assert wire.round_trips - before == 2


@pytest.mark.parametrize("call", ["create", "replay", "get", "get_by_session_hash", "position", "list_since"])
async def test_one_is_enough(stores: SqlStores, wire: Wire, call: str) -> None:
    """What a login or a check asks of the database is one round trip each."""
    user = await stores.users.get((await add_session(stores)).user_id)
    assert user is not None
    sessions = [a_session(user) for _ in range(2)]
    calls: dict[str, Callable[[int], Awaitable[object]]] = {
        "create": lambda n: stores.sessions.create(sessions[n], tokens_of(sessions[n]), NOW, an_event()),
        "replay": lambda _: stores.sessions.replay(
            sessions[0].id, "web", hash_of(1), 0, NOW, 3, NOW, an_event()
        ),
        "get": lambda _: stores.sessions.get(sessions[0].id),
        "get_by_session_hash": lambda _: stores.sessions.get_by_session_hash(hash_of(1)),
        "position": lambda _: stores.log.position(),
        "list_since": lambda _: stores.log.list_since(0, 100),
    }
    await calls[call](0)
    before = wire.round_trips

    await calls[call](1)

    assert wire.round_trips - before == 1


async def test_revoke_takes_six(stores: SqlStores, wire: Wire) -> None:
    """A revocation is a transaction of four statements; only two of its trips come after taking the log's lock."""
    sessions = [await add_session(stores) for _ in range(2)]
    await stores.sessions.revoke(sessions[0].id, an_order())
    before = wire.round_trips

    await stores.sessions.revoke(sessions[1].id, an_order())

    assert wire.round_trips - before == 6


async def test_lost_reply(stores: SqlStores, wire: Wire) -> None:
    """If the reply is lost nobody knows what happened: that is said, and nothing is asked a second time."""
    session = await add_session(stores)
    await stores.sessions.rotate(a_rotation(session), an_event())
    wire.loses_replies = True
    before = wire.round_trips

    with pytest.raises(StoreUnavailable):
        await stores.sessions.rotate(a_rotation(session, 1), an_event("rotated"))

    assert wire.round_trips - before == 1
    wire.loses_replies = False
    found = await stores.sessions.get_refresh(session.id)
    assert found is not None
    assert found[1].generation == 2, "the reply was lost, not the rotation"
    assert (await audited(stores)).count("rotated") == 1


async def test_lost_on_the_way_to_commit(stores: SqlStores, wire: Wire) -> None:
    """A revocation cut off before its commit has not happened, and is not reported as done."""
    session = await add_session(stores)
    wire.loses_replies = True

    with pytest.raises(StoreUnavailable):
        await stores.sessions.revoke(session.id, an_order())

    wire.loses_replies = False
    assert await stores.sessions.get(session.id) == session
    assert (await stores.log.position()).revision == 0


async def test_mends_itself(stores: SqlStores, wire: Wire) -> None:
    """A wire that was cut is connected anew by the next call."""
    session = await add_session(stores)
    wire.loses_replies = True
    with pytest.raises(StoreUnavailable):
        await stores.sessions.get(session.id)
    wire.loses_replies = False

    assert await stores.sessions.get(session.id) == session
