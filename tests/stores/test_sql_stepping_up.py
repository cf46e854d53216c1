"""Step-ups on a session's row, on each database, alone and against others."""

import asyncio

from authsvc.core.clock import MINUTE
from authsvc.core.model import Session
from authsvc.stores.sql import SqlStores
from tests.parts.records import (
    ABSOLUTE,
    NOW,
    REFRESH_ABSOLUTE,
    UNKNOWN_ID,
    a_session,
    add_session,
    add_user,
    an_event,
    an_order,
    hash_of,
    tokens_of,
)
from tests.parts.sql import audited

RACERS = 48
ROUNDS = 20
AMR = ("pwd", "otp", "mfa")


async def step_up(
    stores: SqlStores, session: Session, name: str = "new", at: int = NOW + MINUTE
) -> tuple[Session, bytes | None] | None:
    """Step a session up, with a new session token of this name."""
    return await stores.sessions.step_up(session.id, AMR, hash_of(name), at, an_event("stepped_up"))


async def test_what_changes(stores: SqlStores) -> None:
    """The proof, its time and the session token change, and nothing else; there is an audit event."""
    session = await add_session(stores)

    raised = await step_up(stores, session)

    assert raised is not None
    after, replaced = raised
    assert replaced == tokens_of(session).session_hash
    assert (after.amr, after.acr, after.authenticated_at) == (AMR, "aal2", NOW + MINUTE)
    assert (after.created_at, after.session_expires_at) == (session.created_at, session.session_expires_at)
    assert after.seen_at == NOW + MINUTE
    assert await stores.sessions.get_by_session_hash(hash_of("new")) == after
    assert await stores.sessions.get_by_session_hash(replaced or b"") is None
    assert (await audited(stores))[-1] == "stepped_up"


async def test_without_a_session_token(stores: SqlStores) -> None:
    """A session without a session token gets none."""
    session = await add_session(stores, session_expires_at=None)

    raised = await step_up(stores, session)

    assert raised is not None
    assert raised[1] is None
    assert await stores.sessions.get_by_session_hash(hash_of("new")) is None


async def test_what_is_over(stores: SqlStores) -> None:
    """Nothing that has ended or never was is stepped up, and nothing is on record."""
    session, revoked = await add_session(stores), await add_session(stores)
    await stores.sessions.revoke(revoked.id, an_order())
    late = NOW + max(ABSOLUTE, REFRESH_ABSOLUTE)

    assert await step_up(stores, revoked) is None
    assert await step_up(stores, session, at=late) is None
    for session_id in (UNKNOWN_ID, "no id at all"):
        assert await stores.sessions.step_up(session_id, AMR, hash_of("x"), NOW, an_event()) is None
    assert "stepped_up" not in await audited(stores)


async def test_many_at_once(stores: SqlStores) -> None:
    """Of many step-ups each replaces the token of the one before, so that one token is good, the last one's."""
    session = await add_session(stores)

    raised = await asyncio.gather(*(step_up(stores, session, f"new {racer}") for racer in range(RACERS)))

    replaced = {each[1] for each in raised if each is not None}
    given = {hash_of(f"new {racer}") for racer in range(RACERS)}
    [good] = given - replaced
    assert replaced == (given - {good}) | {tokens_of(session).session_hash}
    assert await stores.sessions.get_by_session_hash(good) is not None


async def test_against_a_revocation(stores: SqlStores) -> None:
    """Whichever comes first, after a revocation the new token is of no use, and the cache is told of the right one."""
    for round_number in range(ROUNDS):
        session = await add_session(stores)
        name = f"new {round_number}"
        contenders = [step_up(stores, session, name), stores.sessions.revoke(session.id, an_order())]
        if round_number % 2:
            contenders.reverse()

        done = await asyncio.gather(*contenders)

        if round_number % 2:
            done.reverse()
        raised, revoked = done
        found = await stores.sessions.get(session.id)
        assert found is not None
        assert found.revoked_at == NOW
        expected = hash_of(name) if raised is not None else tokens_of(session).session_hash
        assert revoked.session_hashes == (expected,)  # type: ignore[union-attr]


async def test_a_session_begins_once(stores: SqlStores) -> None:
    """Of many sessions of one id at once one begins; the others are told that it is there."""
    user = await add_user(stores)
    session = a_session(user)

    async def begin() -> bool:
        tokens = tokens_of(session)
        return await stores.sessions.create(session, tokens, user.password_changed_at, an_event("began"))

    begun = await asyncio.gather(*(begin() for _ in range(RACERS)))

    assert begun.count(True) == 1
    assert (await audited(stores)).count("began") == 1
