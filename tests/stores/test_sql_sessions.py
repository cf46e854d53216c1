"""The session store but for refreshing, on each database."""

from dataclasses import replace

import pytest

from authsvc.core.contracts import NewTokens
from authsvc.core.model import RevokeReason
from authsvc.stores.sql import SqlStores
from tests.parts.records import (
    ABSOLUTE,
    IDLE,
    NOW,
    REFRESH_IDLE,
    TOKEN_TTL,
    UNKNOWN_ID,
    a_session,
    add_session,
    add_user,
    an_event,
    an_order,
    hash_of,
    new_id,
    tokens_of,
)
from tests.parts.sql import audited

NOT_IDS = ["", "none", UNKNOWN_ID.upper() + "\0", UNKNOWN_ID.replace("-", ""), "{" + UNKNOWN_ID + "}", "é"]


async def test_comes_back_as_it_was(stores: SqlStores) -> None:
    """A session is found by id and by the hash of its token, with all its parts."""
    session = await add_session(stores)

    found = await stores.sessions.get(session.id)
    found_by_hash = await stores.sessions.get_by_session_hash(hash_of(f"session token of {session.id}"))

    assert found == found_by_hash == session
    assert await audited(stores) == ["something.happened"] * 2


async def test_one_token_only(stores: SqlStores) -> None:
    """A session may have a session token alone, or a refresh token alone."""
    with_session_token = await add_session(stores, refresh_expires_at=None, refresh_idle_expires_at=None)
    with_refresh_token = await add_session(stores, session_expires_at=None)

    found = [await stores.sessions.get(each.id) for each in (with_session_token, with_refresh_token)]
    refreshes = [
        await stores.sessions.get_refresh(each.id) for each in (with_session_token, with_refresh_token)
    ]

    assert found == [with_session_token, with_refresh_token]
    assert [refresh is None for refresh in refreshes] == [True, False]


@pytest.mark.parametrize("session_id", [UNKNOWN_ID, *NOT_IDS])
async def test_unknown_id(stores: SqlStores, session_id: str) -> None:
    """Whatever is not the id of a session is unknown, never an error."""
    session = await add_session(stores)

    answers = [await stores.sessions.get(session_id), await stores.sessions.get_refresh(session_id)]
    revoked = [
        await stores.sessions.revoke(session_id, an_order()),
        await stores.sessions.revoke_user(session_id, an_order()),
    ]
    await stores.sessions.touch({session_id: NOW + 1})
    listed = [
        *await stores.sessions.list_user(session_id, 10, None, None),
        *await stores.sessions.list_user(session.user_id, 10, (NOW, session_id), None),
    ]

    assert answers == [None, None]
    assert [each.revision for each in revoked] == [0, 0]
    assert listed == []
    assert await stores.sessions.get(session.id) == session


async def test_unknown_hash(stores: SqlStores) -> None:
    """A hash that no session has is unknown."""
    await add_session(stores, session_expires_at=None)

    assert await stores.sessions.get_by_session_hash(hash_of("another")) is None


@pytest.mark.parametrize("why", ["disabled", "password changed", "no such user", "not an id"])
async def test_create_refused(stores: SqlStores, why: str) -> None:
    """No session begins for a user that is disabled or unknown, or with a password that is no longer the one."""
    user = await add_user(stores)
    match why:
        case "disabled":
            await stores.users.disable(user.id, an_order())
        case "password changed":
            await stores.users.set_password(user.id, "$argon2id$second", an_order())
        case "no such user":
            user = replace(user, id=new_id())
        case "not an id":
            user = replace(user, id="nobody")
    session = a_session(user)
    before = await audited(stores)

    created = await stores.sessions.create(session, tokens_of(session), user.password_changed_at, an_event())

    assert not created
    assert await stores.sessions.get(session.id) is None
    assert await audited(stores) == before


async def test_create_odd_device(stores: SqlStores) -> None:
    """A device may call itself anything; a character that a database cannot hold does not stop a login."""
    user = await add_user(stores)
    session = a_session(user)
    odd = replace(session, device=replace(session.device, user_agent="\0\ud800☃"))

    created = await stores.sessions.create(odd, NewTokens(*(hash_of(n) for n in "ab")), NOW, an_event())

    assert created


async def test_list_in_pages(stores: SqlStores) -> None:
    """Sessions of one user come newest first; those of one moment by id; each page goes on below the one before."""
    user = await add_user(stores)
    await add_session(stores)
    own = [await add_session(stores, user, created_at=NOW + age) for age in (0, 1, 1, 1, 2)]
    own.sort(key=lambda session: (session.created_at, session.id), reverse=True)

    pages = [await stores.sessions.list_user(user.id, 2, None, None)]
    while len(pages[-1]) == 2:
        last = pages[-1][-1]
        pages.append(await stores.sessions.list_user(user.id, 2, (last.created_at, last.id), None))

    assert [session for page in pages for session in page] == own


async def test_list_live(stores: SqlStores) -> None:
    """Asked for live ones, the list has those not revoked of which a token is unexpired, to the millisecond."""
    user = await add_user(stores)
    no_refresh = {"refresh_expires_at": None, "refresh_idle_expires_at": None}
    idle = await add_session(stores, user, **no_refresh)
    absolute = await add_session(stores, user, seen_at=NOW + ABSOLUTE, **no_refresh)
    refreshing = await add_session(stores, user, session_expires_at=None)
    revoked = await add_session(stores, user)
    await stores.sessions.revoke(revoked.id, an_order())

    async def live(at: int) -> set[str]:
        return {session.id for session in await stores.sessions.list_user(user.id, 10, None, at)}

    assert await live(NOW + IDLE - 1) == {idle.id, absolute.id, refreshing.id}
    assert await live(NOW + IDLE) == {absolute.id, refreshing.id}
    assert await live(NOW + ABSOLUTE - 1) == {absolute.id, refreshing.id}
    assert await live(NOW + ABSOLUTE) == {refreshing.id}
    assert await live(NOW + REFRESH_IDLE - 1) == {refreshing.id}
    assert await live(NOW + REFRESH_IDLE) == set()


async def test_touch(stores: SqlStores) -> None:
    """Touching moves `seen_at` of each session to its own time, and nothing else."""
    sessions = [await add_session(stores) for _ in range(3)]

    await stores.sessions.touch({session.id: NOW + step for step, session in enumerate(sessions)})

    found = [await stores.sessions.get(session.id) for session in sessions]
    assert found == [replace(session, seen_at=NOW + step) for step, session in enumerate(sessions)]


@pytest.mark.parametrize("why", ["back", "revoked", "past its end"])
async def test_touch_changes_nothing(stores: SqlStores, why: str) -> None:
    """Touching never moves `seen_at` back, and never an ended session's."""
    session = await add_session(stores)
    if why == "revoked":
        await stores.sessions.revoke(session.id, an_order())
    at = {"back": NOW - 1, "revoked": NOW + 1, "past its end": NOW + ABSOLUTE}[why]
    before = await stores.sessions.get(session.id)

    await stores.sessions.touch({session.id: at})

    assert await stores.sessions.get(session.id) == before


async def test_touch_nothing(stores: SqlStores) -> None:
    """Touching no session is allowed."""
    await stores.sessions.touch({})


async def test_revoke(stores: SqlStores) -> None:
    """Revoking ends the session with time and reason, and says what to tell the cache and the log."""
    session = await add_session(stores)

    revoked = await stores.sessions.revoke(session.id, an_order(RevokeReason.COMPROMISED, revoked_at=NOW + 1))

    assert await stores.sessions.get(session.id) == replace(
        session, revoked_at=NOW + 1, revoke_reason=RevokeReason.COMPROMISED
    )
    assert revoked.session_hashes == (tokens_of(session).session_hash,)
    assert revoked.revision == revoked.entries[0].revision == 1
    assert (await audited(stores))[-1] == "session.revoked"


async def test_revoke_twice(stores: SqlStores) -> None:
    """Revoking again changes nothing: neither reason nor log nor audit log."""
    session = await add_session(stores)
    await stores.sessions.revoke(session.id, an_order(RevokeReason.LOGOUT))
    before = await stores.sessions.get(session.id), await stores.log.position(), await audited(stores)

    again = await stores.sessions.revoke(session.id, an_order(RevokeReason.ADMIN, revoked_at=NOW + 1))

    assert (again.revision, again.entries, again.session_hashes) == (0, (), ())
    assert (
        await stores.sessions.get(session.id),
        await stores.log.position(),
        await audited(stores),
    ) == before


@pytest.mark.parametrize(
    ("session_expires_at", "expires_at"),
    [
        (NOW + ABSOLUTE, NOW + ABSOLUTE),
        (NOW + TOKEN_TTL - 1, NOW + TOKEN_TTL),
        (NOW - 1, NOW + TOKEN_TTL),
        (None, NOW + TOKEN_TTL),
    ],
)
async def test_entry_outlives(stores: SqlStores, session_expires_at: int | None, expires_at: int) -> None:
    """An entry lives until neither the session token nor an access token just minted could still be good."""
    session = await add_session(stores, session_expires_at=session_expires_at)

    revoked = await stores.sessions.revoke(session.id, an_order())

    assert [entry.expires_at for entry in revoked.entries] == [expires_at]


async def test_revoke_user(stores: SqlStores) -> None:
    """Revoking a user's sessions leaves out the one to keep, those revoked before, and other users'."""
    user = await add_user(stores)
    kept, revoked_before, *own = [await add_session(stores, user) for _ in range(4)]
    other = await add_session(stores)
    await stores.sessions.revoke(revoked_before.id, an_order(RevokeReason.LOGOUT))

    revoked = await stores.sessions.revoke_user(
        user.id, an_order(audit=an_event("all")), keep_session_id=kept.id
    )

    assert {entry.subject_id for entry in revoked.entries} == {session.id for session in own}
    assert set(revoked.session_hashes) == {tokens_of(session).session_hash for session in own}
    assert [entry.revision for entry in revoked.entries] == [2, 3]
    assert revoked.revision == 3
    assert [await stores.sessions.get(each.id) for each in (kept, other)] == [kept, other]
    assert (await audited(stores)).count("all") == 1


async def test_revoke_user_live(stores: SqlStores) -> None:
    """Sessions are revoked as long as anything of them may be good: also if idle only, also for access tokens."""
    user = await add_user(stores)
    no_refresh = {"refresh_expires_at": None, "refresh_idle_expires_at": None}
    idle = await add_session(stores, user, seen_at=NOW - IDLE, **no_refresh)
    just_ended = await add_session(stores, user, session_expires_at=NOW - TOKEN_TTL + 1, **no_refresh)
    await add_session(stores, user, session_expires_at=NOW - TOKEN_TTL, **no_refresh)

    revoked = await stores.sessions.revoke_user(user.id, an_order())

    assert {entry.subject_id for entry in revoked.entries} == {idle.id, just_ended.id}


async def test_revoke_user_without_sessions(stores: SqlStores) -> None:
    """With nothing to revoke nothing changes: revision 0, no event."""
    user = await add_user(stores)
    before = await audited(stores)

    revoked = await stores.sessions.revoke_user(user.id, an_order())

    assert revoked.revision == 0
    assert await audited(stores) == before
