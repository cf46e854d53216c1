"""The set of revocations in memory."""

import pytest

from authsvc.core.clock import MINUTE
from authsvc.core.model import LogPosition, Revocation, Subject
from authsvc.core.view import View

NOW, LATER = 1_000, 10_000


def session(revision: int, session_id: str = "s", expires_at: int = LATER) -> Revocation:
    """A session is revoked."""
    return Revocation(revision, Subject.SESSION, session_id, None, expires_at)


def user(revision: int, before: int, user_id: str = "u") -> Revocation:
    """What a user had before a time is revoked."""
    return Revocation(revision, Subject.USER, user_id, before, LATER)


def everyone(revision: int, before: int) -> Revocation:
    """What anybody had before a time is revoked."""
    return Revocation(revision, Subject.EVERYONE, "", before, LATER)


def test_session() -> None:
    """A revoked session is refused whenever it was issued, and no other session is."""
    view = View()
    view.apply(session(1))

    assert view.revokes("s", "u", 10**15)
    assert not view.revokes("other", "u", 0)


@pytest.mark.parametrize(("issued_at", "revoked"), [(499, True), (500, False), (501, False)])
def test_user(issued_at: int, revoked: bool) -> None:
    """Of a user everything issued before the time is refused, and nothing from then on; other users are not touched."""
    view = View()
    view.apply(user(1, 500))

    assert view.revokes("s", "u", issued_at) is revoked
    assert not view.revokes("s", "other", issued_at)


@pytest.mark.parametrize(("issued_at", "revoked"), [(499, True), (500, False)])
def test_everyone(issued_at: int, revoked: bool) -> None:
    """The same for everyone."""
    view = View()
    view.apply(everyone(1, 500))

    assert view.revokes("s", "u", issued_at) is revoked


def test_key() -> None:
    """A distrusted key is told by its id."""
    view = View()
    view.apply(Revocation(1, Subject.KEY, "kid", None, LATER))

    assert view.revokes_key("kid")
    assert not view.revokes_key("other")


@pytest.mark.parametrize("order", [(300, 500), (500, 300)])
def test_later_time_counts(order: tuple[int, int]) -> None:
    """Of several entries for a user the one with the later time counts, in whichever order they come."""
    view = View()
    for revision, before in enumerate(order, 1):
        view.apply(user(revision, before))
        view.apply(everyone(revision, before - 200))

    assert view.revokes("s", "u", 499)
    assert view.revokes("s", "other", 299)
    assert not view.revokes("s", "other", 300)


def test_revision_moves_in_order_only() -> None:
    """An entry applied ahead of its turn counts at once, but the revision stays: something before it may be missing."""
    view = View()

    view.apply(session(3))
    ahead = view.revision
    view.advance([session(1, "a"), session(2, "b")])

    assert (ahead, view.revision) == (0, 2)
    assert view.revokes("s", "u", 0)


def test_revision_never_goes_back() -> None:
    """Starting again at an older position takes nothing back."""
    view = View()
    view.advance([session(1), session(2)])

    view.restart(LogPosition(1, 0, 0))

    assert view.revision == 2
    assert view.revokes("s", "u", 0)


def test_forgets_what_forbids_nothing() -> None:
    """Entries are forgotten within a minute of their expiry, and not before it."""
    view = View()
    entries = [session(1), user(2, 500), everyone(3, 500), Revocation(4, Subject.KEY, "kid", None, LATER)]
    view.advance(entries)

    early = view.forget_expired(LATER - 1)
    late = view.forget_expired(LATER + MINUTE)

    assert (early, late, len(view)) == (0, 4, 0)


def test_entries_are_all_there_is() -> None:
    """A snapshot holds everything in force, once."""
    view = View()
    view.advance([session(1), session(2, "t"), user(3, 500), user(4, 600), everyone(5, 700)])

    found = [(entry.subject, entry.subject_id, entry.issued_before_at) for entry in view.entries()]

    assert sorted(found, key=str) == sorted(
        [
            (Subject.SESSION, "s", None),
            (Subject.SESSION, "t", None),
            (Subject.USER, "u", 600),
            (Subject.EVERYONE, "", 700),
        ],
        key=str,
    )
    assert len(view) == 4
