"""Many at once, on each database: who wins, and what is left afterwards."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

import pytest
from sqlalchemy import select, text, update

from authsvc.core.contracts import Revoked
from authsvc.core.model import User
from authsvc.stores.sql import RuleBroken, SqlStores
from authsvc.stores.sql.schema import users
from tests.parts.records import (
    NOW,
    a_rotation,
    a_session,
    add_session,
    add_user,
    an_event,
    an_order,
    hash_of,
    refresh_hash_of,
    tokens_of,
)
from tests.parts.sql import audited
from tests.parts.valkey import until

RACERS = 48
_WAITING = text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
ROUNDS = int(os.environ.get("TEST_RACE_ROUNDS", "20"))


@pytest.fixture
async def warm(stores: SqlStores) -> SqlStores:
    """Stores with all their connections open, so that racers start together."""
    await asyncio.gather(*(stores.ping() for _ in range(RACERS)))
    return stores


async def test_one_rotation_wins(warm: SqlStores) -> None:
    """Of 48 rotations of one token exactly one wins, and the row holds the winner's successor; round after round."""
    session = await add_session(warm)
    presented = refresh_hash_of(session, 0)
    for generation in range(ROUNDS):
        rotations = [
            a_rotation(
                session, generation, presented_hash=presented, successor_hash=hash_of((generation, racer))
            )
            for racer in range(RACERS)
        ]

        rotated = await asyncio.gather(
            *(warm.sessions.rotate(each, an_event("rotated")) for each in rotations)
        )

        winners = [rotation for rotation, won in zip(rotations, rotated, strict=True) if won is not None]
        assert len(winners) == 1
        presented = winners[0].successor_hash
        found = await warm.sessions.get_refresh(session.id)
        assert found is not None
        assert (found[1].generation, found[1].refresh_hash) == (generation + 1, presented)
    assert (await audited(warm)).count("rotated") == ROUNDS


async def test_replays_stop_at_the_limit(warm: SqlStores) -> None:
    """Of 48 replays at once exactly as many are granted as the limit says."""
    for _ in range(ROUNDS):
        session = await add_session(warm)
        await warm.sessions.rotate(a_rotation(session), an_event())
        presented = refresh_hash_of(session, 0)

        granted = await asyncio.gather(
            *(
                warm.sessions.replay(session.id, "web", presented, 0, NOW, 3, NOW, an_event())
                for _ in range(RACERS)
            )
        )

        assert sum(answer is not None for answer in granted) == 3


async def test_refresh_against_revoke(warm: SqlStores) -> None:
    """Whichever comes first, after a revocation no successor is of any use: there is no live orphan."""
    for round_number in range(ROUNDS * 5):
        session = await add_session(warm)
        contenders = [
            warm.sessions.rotate(a_rotation(session), an_event()),
            warm.sessions.revoke(session.id, an_order()),
        ]
        if round_number % 2:
            contenders.reverse()

        await asyncio.gather(*contenders)

        found = await warm.sessions.get(session.id)
        assert found is not None
        assert found.revoked_at == NOW
        successors = [await warm.sessions.rotate(a_rotation(session, each), an_event()) for each in (0, 1)]
        assert successors == [None, None]


async def test_one_revocation_counts(warm: SqlStores) -> None:
    """Of many revocations of one session one writes to the log, and the others change nothing."""
    session = await add_session(warm)

    revoked = await asyncio.gather(*(warm.sessions.revoke(session.id, an_order()) for _ in range(RACERS)))

    assert sorted(each.revision for each in revoked) == [0] * (RACERS - 1) + [1]


@pytest.mark.parametrize("change", ["set_password", "disable"])
async def test_login_against_change_of_user(warm: SqlStores, change: str) -> None:
    """A session begun with the password as it was never outlives a change of password or a disabling."""
    for round_number in range(ROUNDS):
        user = await add_user(warm)
        logins = [_log_in(warm, user) for _ in range(4)]
        changes: dict[str, Callable[[], Awaitable[object]]] = {
            "set_password": partial(warm.users.set_password, user.id, "x", an_order()),
            "disable": partial(warm.users.disable, user.id, an_order()),
        }
        earlier = round_number % 5

        await asyncio.gather(*logins[:earlier], changes[change](), *logins[earlier:])

        assert await warm.sessions.list_user(user.id, 10, None, live_at=NOW) == []


@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
async def test_login_waits_for_change_of_user(warm: SqlStores) -> None:
    """A login that meets a change of user under way waits for its outcome, and does not go by the row as it was."""
    user = await add_user(warm)
    async with warm.database.write() as transaction:
        await transaction.run(update(users).where(users.c.id == user.id).values(disabled_at=NOW))
        login = asyncio.create_task(_log_in(warm, user))
        await _until_one_waits(warm)

    assert await login is False


@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
async def test_change_of_user_waits_for_login(warm: SqlStores) -> None:
    """A change of password that meets a login under way waits for it, and then ends its session."""
    user = await add_user(warm)
    async with warm.database.write() as transaction:
        await transaction.run(select(users.c.id).where(users.c.id == user.id).with_for_update(read=True))
        change = asyncio.create_task(warm.users.set_password(user.id, "x", an_order()))
        await _until_one_waits(warm)
        assert await _log_in(warm, user)

    revoked = await change
    assert revoked is not None
    assert len(revoked.entries) == 1


async def test_each_change_of_password_counts(warm: SqlStores) -> None:
    """Changes of password in one millisecond leave different times, so no login passes from one to the next."""
    user = await add_user(warm)

    await asyncio.gather(*(warm.users.set_password(user.id, "x", an_order()) for _ in range(RACERS)))

    found = await warm.users.get(user.id)
    assert found is not None
    assert found.password_changed_at == user.password_changed_at + RACERS


async def test_revisions_in_commit_order(warm: SqlStores) -> None:
    """Revisions have no gaps, and whoever follows the log never sees a later one before an earlier one."""
    users = [await add_user(warm) for _ in range(6)]
    sessions = [await add_session(warm, user) for user in users for _ in range(6)]
    done = asyncio.Event()

    async def follow() -> list[int]:
        seen: list[int] = []
        while True:
            finished = done.is_set()
            seen += [each.revision for each in await warm.log.list_since(seen[-1] if seen else 0, 100)]
            if finished:
                return seen

    followers = [asyncio.create_task(follow()) for _ in range(3)]
    revoked = await asyncio.gather(
        *(warm.sessions.revoke(session.id, an_order()) for session in sessions[:30]),
        *(warm.sessions.revoke_user(user.id, an_order()) for user in users),
        *(warm.users.set_password(user.id, "x", an_order()) for user in users),
    )
    done.set()

    expected = list(range(1, len(sessions) + 1))
    assert _revisions([each for each in revoked if each]) == expected
    assert await asyncio.gather(*followers) == [expected] * 3
    assert (await warm.log.position()).revision == len(sessions)


async def test_crossing_revocations_do_not_deadlock(warm: SqlStores) -> None:
    """Revoking the same sessions in every way at once waits, but never in a circle."""
    for _ in range(ROUNDS):
        user = await add_user(warm)
        sessions = [await add_session(warm, user) for _ in range(5)]
        seen = {session.id: NOW + 1 for session in reversed(sessions)}

        revoked = await asyncio.gather(
            *(warm.sessions.revoke_user(user.id, an_order()) for _ in range(4)),
            *(warm.sessions.touch(seen) for _ in range(4)),
            *(warm.sessions.revoke(session.id, an_order()) for session in sessions),
            warm.users.set_password(user.id, "x", an_order()),
        )

        assert sum(len(each.entries) for each in revoked if each) == len(sessions)


async def test_failed_transaction_gives_its_number_back(warm: SqlStores) -> None:
    """A revocation that does not commit leaves no gap."""
    session, other = await add_session(warm), await add_session(warm)
    broken = an_order(audit=an_event(happened_at=None))

    with pytest.raises(RuleBroken):
        await warm.sessions.revoke(session.id, broken)
    revoked = await warm.sessions.revoke(other.id, an_order())

    assert revoked.revision == 1
    assert (await warm.sessions.get(session.id)) == session


async def _log_in(stores: SqlStores, user: User) -> bool:
    session = a_session(user)
    return await stores.sessions.create(session, tokens_of(session), user.password_changed_at, an_event())


async def _until_one_waits(stores: SqlStores) -> None:
    """Wait until a connection waits for another's lock."""

    async def waiting() -> bool:
        return bool((await stores.database.read(_WAITING))[0][0])

    await until(waiting, within_s=5)


def _revisions(revoked: Sequence[Revoked]) -> list[int]:
    return sorted(entry.revision for each in revoked for entry in each.entries)
