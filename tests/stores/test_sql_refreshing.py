"""Rotating and replaying, on each database: which rows match and what becomes of them."""

from dataclasses import replace
from typing import Any

import pytest

from authsvc.core.model import Device, RefreshState
from authsvc.stores.sql import SqlStores
from tests.parts.records import (
    NOW,
    REFRESH_ABSOLUTE,
    REFRESH_IDLE,
    UNKNOWN_ID,
    a_rotation,
    add_session,
    an_event,
    an_order,
    hash_of,
    refresh_hash_of,
)
from tests.parts.sql import audited

WINDOW = 30_000


def replay_of(session_id: str, presented_hash: bytes, **changes: Any) -> dict[str, Any]:
    """A replay of the token of generation 0, at NOW."""
    values = {
        "session_id": session_id,
        "client_id": "web",
        "presented_hash": presented_hash,
        "generation": 0,
        "rotated_after": NOW - WINDOW,
        "limit": 3,
        "now": NOW,
        "audit": an_event("replayed"),
    }
    return {**values, **changes}


async def test_begins_at_generation_0(stores: SqlStores) -> None:
    """A new session's refresh state has the first token and no past."""
    session = await add_session(stores)

    assert await stores.sessions.get_refresh(session.id) == (
        session,
        RefreshState(0, refresh_hash_of(session, 0), None, None, None, 0),
    )


async def test_rotate(stores: SqlStores) -> None:
    """A rotation moves the whole row one generation on, slides the idle deadline, keeps who asked, writes its event."""
    session = await add_session(stores)
    rotated_at = NOW + 1_000

    rotation = a_rotation(session, now=rotated_at, device=Device("192.0.2.9", "another \0 browser"))

    rotated = await stores.sessions.rotate(rotation, an_event("rotated"))

    assert rotated == replace(
        session, rotated_at=rotated_at, refresh_idle_expires_at=rotated_at + REFRESH_IDLE
    )
    assert await stores.sessions.get_refresh(session.id) == (
        rotated,
        RefreshState(
            1,
            refresh_hash_of(session, 1),
            refresh_hash_of(session, 0),
            rotated_at,
            b"sealed 1",
            0,
            Device("192.0.2.9", "another \N{REPLACEMENT CHARACTER} browser"),
        ),
    )
    assert (await audited(stores))[-1] == "rotated"


async def test_rotate_again_and_again(stores: SqlStores) -> None:
    """A session can be refreshed any number of times, and stays one row."""
    session = await add_session(stores)

    rotated = [
        await stores.sessions.rotate(a_rotation(session, generation), an_event("rotated"))
        for generation in range(20)
    ]

    assert None not in rotated
    assert (await audited(stores)).count("rotated") == 20
    assert len(await stores.sessions.list_user(session.user_id, 10, None, None)) == 1


async def test_idle_deadline_is_capped(stores: SqlStores) -> None:
    """Rotation never moves the idle deadline past the absolute one, nor the absolute one at all."""
    end = NOW + REFRESH_IDLE + 500
    session = await add_session(stores, refresh_expires_at=end)

    rotated = await stores.sessions.rotate(a_rotation(session, now=NOW + 1_000), an_event())

    assert rotated is not None
    assert (rotated.refresh_idle_expires_at, rotated.refresh_expires_at) == (end, end)


REFUSED: dict[str, dict[str, Any]] = {
    "a generation before": {"generation": -1},
    "a generation ahead": {"generation": 1},
    "another token": {"presented_hash": hash_of("another")},
    "another client": {"client_id": "mobile"},
    "another session": {"session_id": UNKNOWN_ID},
    "not a session id": {"session_id": "none"},
    "idle for too long": {"now": NOW + REFRESH_IDLE},
}


@pytest.mark.parametrize("why", REFUSED)
async def test_rotate_refused(stores: SqlStores, why: str) -> None:
    """A rotation changes nothing, and leaves no event, unless everything about it fits the row."""
    session = await add_session(stores)
    before = await stores.sessions.get_refresh(session.id), await audited(stores)

    rotated = await stores.sessions.rotate(a_rotation(session, **REFUSED[why]), an_event("rotated"))

    assert rotated is None
    assert (await stores.sessions.get_refresh(session.id), await audited(stores)) == before


@pytest.mark.parametrize(("early_ms", "lives"), [(1, True), (0, False)])
async def test_rotate_at_the_absolute_end(stores: SqlStores, early_ms: int, lives: bool) -> None:
    """The absolute deadline is exact: a millisecond before it a rotation succeeds, at it none does."""
    session = await add_session(stores, refresh_idle_expires_at=NOW + REFRESH_ABSOLUTE)

    rotated = await stores.sessions.rotate(
        a_rotation(session, now=NOW + REFRESH_ABSOLUTE - early_ms), an_event()
    )

    assert (rotated is not None) is lives


async def test_rotate_revoked(stores: SqlStores) -> None:
    """A revoked session is never refreshed again."""
    session = await add_session(stores)
    await stores.sessions.revoke(session.id, an_order())

    assert await stores.sessions.rotate(a_rotation(session), an_event()) is None


async def test_rotate_used_token(stores: SqlStores) -> None:
    """A token that has been rotated never rotates again."""
    session = await add_session(stores)
    await stores.sessions.rotate(a_rotation(session), an_event())

    again = await stores.sessions.rotate(a_rotation(session, successor_hash=hash_of("thief")), an_event())

    assert again is None


async def test_replay(stores: SqlStores) -> None:
    """The token just used gets the same sealed successor, as often as the limit says and no more."""
    session = await add_session(stores)
    rotated = await stores.sessions.rotate(a_rotation(session), an_event())
    replay = replay_of(session.id, refresh_hash_of(session, 0))

    answers = [await stores.sessions.replay(**replay) for _ in range(4)]

    assert answers == [(rotated, b"sealed 1")] * 3 + [None]
    assert (await audited(stores)).count("replayed") == 3


async def test_replay_count_begins_anew(stores: SqlStores) -> None:
    """Each rotation has replays of its own."""
    session = await add_session(stores)
    await stores.sessions.rotate(a_rotation(session), an_event())
    for _ in range(3):
        await stores.sessions.replay(**replay_of(session.id, refresh_hash_of(session, 0)))
    await stores.sessions.rotate(a_rotation(session, 1), an_event())

    answer = await stores.sessions.replay(**replay_of(session.id, refresh_hash_of(session, 1), generation=1))

    assert answer is not None
    assert answer[1] == b"sealed 2"


REPLAY_REFUSED: dict[str, dict[str, Any]] = {
    "out of time": {"rotated_after": NOW + 1},
    "the current token": {"generation": 1},
    "a generation before": {"generation": -1},
    "another token": {"presented_hash": hash_of("another")},
    "another client": {"client_id": "mobile"},
    "another session": {"session_id": UNKNOWN_ID},
    "not a session id": {"session_id": "none"},
    "idle for too long": {"now": NOW + REFRESH_IDLE},
}


@pytest.mark.parametrize("why", REPLAY_REFUSED)
async def test_replay_refused(stores: SqlStores, why: str) -> None:
    """A replay is neither granted nor counted unless everything about it fits the row."""
    session = await add_session(stores)
    await stores.sessions.rotate(a_rotation(session), an_event())
    before = await stores.sessions.get_refresh(session.id)
    replay = replay_of(session.id, refresh_hash_of(session, 0))

    answer = await stores.sessions.replay(**{**replay, **REPLAY_REFUSED[why]})

    assert answer is None
    assert await stores.sessions.get_refresh(session.id) == before


async def test_replay_before_any_rotation(stores: SqlStores) -> None:
    """A token that has not been used cannot be replayed."""
    session = await add_session(stores)

    assert await stores.sessions.replay(**replay_of(session.id, refresh_hash_of(session, 0))) is None


async def test_replay_after_successor_was_used(stores: SqlStores) -> None:
    """The window closes as soon as the successor is used."""
    session = await add_session(stores)
    for generation in (0, 1):
        await stores.sessions.rotate(a_rotation(session, generation), an_event())

    assert await stores.sessions.replay(**replay_of(session.id, refresh_hash_of(session, 0))) is None


async def test_replay_revoked(stores: SqlStores) -> None:
    """A revoked session gives no successor away."""
    session = await add_session(stores)
    await stores.sessions.rotate(a_rotation(session), an_event())
    await stores.sessions.revoke(session.id, an_order())

    assert await stores.sessions.replay(**replay_of(session.id, refresh_hash_of(session, 0))) is None
