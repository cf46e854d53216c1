"""The view of revocations: what it refuses, for how long, and how its age is told."""

import asyncio
import threading
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest

from authsvc_client.strict import AccessToken
from authsvc_client.verifying import NEVER_HEARD_MS, RevisionNotReached, Revocation, Revocations, Subject
from tests.client.strict_minting import NOW, mint, verify

HOUR = 3_600_000
MINUTE = 60_000


class Clock:
    """A time that stands until moved."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock() -> Clock:
    """Both clocks of `revocations`."""
    return Clock()


@pytest.fixture
def revocations(clock: Clock) -> Revocations:
    """An empty view."""
    return Revocations(clock=clock, monotonic=clock)


def token(**changes: Any) -> AccessToken:
    """A verified token of session-1 of user-1, issued a minute ago."""
    return replace(verify(mint()), **changes)


def session(session_id: str = "session-1", expires_at: int = NOW + HOUR) -> Revocation:
    return Revocation(Subject.SESSION, session_id, expires_at)


def test_session(revocations: Revocations) -> None:
    """Revoking a session refuses its tokens and no others."""
    session_id = str(uuid4())

    revocations.apply([session(session_id)])

    assert revocations.revokes(token(session_id=session_id))
    assert not revocations.revokes(token(session_id=str(uuid4())))


def test_session_with_another_kind_of_id(revocations: Revocations) -> None:
    """An id that is no UUID is held just as well."""
    revocations.apply([session("session-1")])

    assert revocations.revokes(token())
    assert not revocations.revokes(token(session_id="session-2"))


def test_user_is_refused_what_was_issued_before(revocations: Revocations) -> None:
    """Revoking a user refuses what was issued before the time named, not what comes after."""
    entry = Revocation(Subject.USER, "user-1", NOW + HOUR, issued_before_at=NOW)

    revocations.apply([entry])

    assert revocations.revokes(token(issued_at=NOW - 1))
    assert not revocations.revokes(token(issued_at=NOW))
    assert not revocations.revokes(token(issued_at=NOW - 1, subject="user-2"))


def test_everyone(revocations: Revocations) -> None:
    """Revoking everyone refuses whatever was issued before the time named."""
    revocations.apply([Revocation(Subject.EVERYONE, "", NOW + HOUR, issued_before_at=NOW)])

    assert revocations.revokes(token(issued_at=NOW - 1))
    assert not revocations.revokes(token(issued_at=NOW))


def test_key(revocations: Revocations) -> None:
    """Distrusting a key refuses its tokens, even where the key is still in a key set."""
    revocations.apply([Revocation(Subject.KEY, token().key_id, NOW + HOUR)])

    assert revocations.revokes(token())
    assert not revocations.revokes(token(key_id="another"))


@pytest.mark.parametrize("subject", [Subject.USER, Subject.EVERYONE])
def test_earlier_time_does_not_narrow(revocations: Revocations, subject: Subject) -> None:
    """Of two entries for the same subject the later time counts, in whatever order they come."""
    revocations.apply([Revocation(subject, "user-1", NOW + HOUR, NOW)])

    revocations.apply([Revocation(subject, "user-1", NOW + MINUTE, NOW - MINUTE)])

    assert revocations.revokes(token(issued_at=NOW - 1))


def test_snapshot_takes_nothing_away(revocations: Revocations) -> None:
    """What was revoked stays so, whatever a server with an older backup says."""
    revocations.apply([session()])
    revocations.reach(7)

    revocations.reach(3, snapshot=True)

    assert revocations.revokes(token())
    assert revocations.revision == 3


def test_revision_only_grows(revocations: Revocations) -> None:
    """Who was told that a revision is reached is not told otherwise later, but by a snapshot."""
    revocations.reach(7)

    revocations.reach(5)

    assert revocations.revision == 7


def test_expired_entries_are_forgotten(revocations: Revocations, clock: Clock) -> None:
    """The view is bounded: entries of every kind leave some time after nothing they forbid can be alive."""
    revocations.apply([session(), session(str(uuid4())), Revocation(Subject.KEY, "key", NOW + HOUR)])
    revocations.apply([Revocation(Subject.USER, "user-1", NOW + HOUR, NOW)])
    revocations.apply([Revocation(Subject.EVERYONE, "", NOW + HOUR, NOW)])
    held = len(revocations)

    clock.now += HOUR + 2 * MINUTE
    for _ in range(64):
        revocations.forget_expired()

    assert held == 5
    assert len(revocations) == 0


def test_entries_outlive_a_clock_that_is_ahead(revocations: Revocations, clock: Clock) -> None:
    """An entry is kept past its expiry for as long as clocks may disagree."""
    revocations.apply([session(), Revocation(Subject.KEY, "key", NOW + HOUR)])

    clock.now += HOUR + MINUTE // 2
    for _ in range(64):
        revocations.forget_expired()

    assert len(revocations) == 2


def test_age(revocations: Revocations, clock: Clock) -> None:
    """The age counts from the last word that the view was complete, and is past every bound before the first."""
    before = revocations.age_ms()

    revocations.reach(1, snapshot=True)
    still = revocations.age_ms()
    revocations.heard(delay_ms=200)
    clock.now += 300

    assert before == still == NEVER_HEARD_MS
    assert revocations.age_ms() == 500


def test_subscribers_are_told_of_sessions(revocations: Revocations) -> None:
    """Those who hold streams or cached answers hear which sessions ended, after the entries count."""
    told: list[tuple[frozenset[str] | None, bool]] = []
    revocations.subscribe(lambda ids: told.append((ids, revocations.revokes(token()))))

    revocations.apply([session("session-1"), session("session-2")])

    assert told == [(frozenset({"session-1", "session-2"}), True)]


def test_subscribers_are_told_to_check_everything(revocations: Revocations) -> None:
    """Anything that is not a session, and a snapshot, may concern everyone who subscribed."""
    told: list[frozenset[str] | None] = []
    revocations.subscribe(told.append)

    revocations.apply([session(), Revocation(Subject.USER, "user-1", NOW + HOUR, NOW)])
    revocations.apply([session("session-2")], tell=False)
    revocations.reach(2, snapshot=True)

    assert told == [None, None]


def test_failing_subscriber_keeps_nobody_from_hearing(revocations: Revocations) -> None:
    """A mistake in one subscriber neither reaches the watcher nor the other subscribers."""
    told: list[frozenset[str] | None] = []
    revocations.subscribe(lambda _: told.remove(None))
    revocations.subscribe(told.append)

    revocations.apply([session()])

    assert told == [frozenset({"session-1"})]


def test_unsubscribed_is_not_told(revocations: Revocations) -> None:
    """Nobody is called after unsubscribing."""
    told: list[frozenset[str] | None] = []
    unsubscribe = revocations.subscribe(told.append)

    unsubscribe()
    revocations.apply([session()])

    assert told == []


async def test_waiting_for_a_revision(revocations: Revocations) -> None:
    """Who waits goes on as soon as the revision is reached, told from another thread."""
    waiting = asyncio.create_task(revocations.wait_for_revision(2, 10_000))
    await asyncio.sleep(0)

    revocations.reach(1)
    threading.Thread(target=revocations.reach, args=(2,)).start()

    await waiting


async def test_waiting_in_vain(revocations: Revocations) -> None:
    """A revision that does not come in time is 'not known', and leaves nothing behind."""
    with pytest.raises(RevisionNotReached):
        await revocations.wait_for_revision(1, 5)
    with pytest.raises(RevisionNotReached):
        await asyncio.to_thread(revocations.wait_for_revision_sync, 1, 5)

    assert revocations._waiting == ()


def test_waiting_on_a_thread(revocations: Revocations) -> None:
    """A thread that waits goes on as soon as the revision is reached."""
    timer = threading.Timer(0.02, revocations.reach, (1,))
    timer.start()

    revocations.wait_for_revision_sync(1, 10_000)

    assert revocations.revision == 1
    timer.join()
