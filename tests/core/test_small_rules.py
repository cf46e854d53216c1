"""Rules that fit on a line: ids, names, pages, narrowing, lifetimes."""

import os
import uuid

import pytest

from authsvc.core.clock import DAY, HOUR, MINUTE
from authsvc.core.errors import InvalidRequest
from authsvc.core.ids import is_id, new_id
from authsvc.core.lifetimes import ACCESS_TTL_CAP, LEEWAY, REVOCATION_GRACE, Lifetimes
from authsvc.core.narrowing import narrowed
from authsvc.core.paging import PAGE_DEFAULT, page_size, page_token, read_page_token
from authsvc.core.scopes import checked_names
from authsvc.core.usernames import checked_username, username_key

NOW = 1_790_000_000_000


def test_id_is_a_uuid_of_its_time() -> None:
    """An id is a UUIDv7: it sorts by time and is never guessed."""
    first, second = new_id(NOW, os.urandom), new_id(NOW + 1, os.urandom)

    assert first < second
    assert uuid.UUID(first).version == 7
    assert uuid.UUID(first).variant == uuid.RFC_4122
    assert int(first.replace("-", "")[:12], 16) == NOW
    assert len({new_id(NOW, os.urandom) for _ in range(1_000)}) == 1_000


@pytest.mark.parametrize(
    "text", ["", "x", "0" * 32, "{" + "0" * 36 + "}", "01890A5D-AC96-774B-BCCE-B302099A8057", "web"]
)
def test_what_is_no_id(text: str) -> None:
    """Only the canonical spelling is an id; a client's id never is one (RFC 9700 §4.15)."""
    assert is_id(new_id(NOW, os.urandom))
    assert not is_id(text)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("alice", "ALICE"),
        ("stra\u00dfe", "STRASSE"),
        ("\u00e9", "e\u0301"),
        ("\ufb01sh", "fish"),
        ("\uff41", "a"),
        ("\u03a3", "\u03c2"),
    ],
)
def test_names_that_are_the_same(one: str, other: str) -> None:
    """Spellings of one name compare equal, and comparing the compared form changes nothing."""
    assert username_key(one) == username_key(other)
    assert username_key(username_key(one)) == username_key(one)


@pytest.mark.parametrize(
    "name", ["", " a", "a ", "a" * 257, "a\0", "a\u200b", "\u202ea", "a\ue000", "a\u2028b"]
)
def test_names_that_are_refused(name: str) -> None:
    """A name that cannot be told from another by eye, or that breaks a list, is refused."""
    with pytest.raises(InvalidRequest) as refused:
        checked_username(name)

    assert refused.value.violations[0][0] == "username"


@pytest.mark.parametrize(
    "name", ["alice", "Zo\u00eb M\u00fcller", "\u674e\u6770", "a+b@example.com", "o'hara"]
)
def test_names_that_are_kept(name: str) -> None:
    """Names of people are kept as they are written."""
    assert checked_username(name) == name


def test_pages() -> None:
    """A page token gives back the place it was made of; a size of 0 is the default."""
    assert read_page_token(page_token("a", "\u00e9\0"), 2) == ("a", "\u00e9\0")
    assert [page_size(asked) for asked in (0, 1, 100)] == [PAGE_DEFAULT, 1, 100]


def test_narrowing() -> None:
    """Nothing asked for is everything allowed; what is asked for is granted once; anything else is refused."""
    allowed = ("a", "b", "c")

    assert narrowed(allowed, [], "scopes") == allowed
    assert narrowed(allowed, ["c", "a", "c"], "scopes") == ("c", "a")
    for wanted in (["d"], ["a", "d"], [""], ["A"]):
        with pytest.raises(InvalidRequest):
            narrowed(allowed, wanted, "scopes")
    with pytest.raises(InvalidRequest):
        narrowed((), ["a"], "scopes")


@pytest.mark.parametrize("name", ["", "a b", "a\tb", 'a"', "a\\b", "\u00e9", "a" * 129, "a\0"])
def test_scope_names(name: str) -> None:
    """A scope is printable ASCII without space, quote and backslash (RFC 6749 §3.3)."""
    assert checked_names(["a:b/c?d=e", "x", "x"], "scopes") == ("a:b/c?d=e", "x")
    with pytest.raises(InvalidRequest):
        checked_names([name], "scopes")


def test_lifetimes() -> None:
    """Who asks to stay logged in has the other profile; entries of the log outlive every access token."""
    lifetimes = Lifetimes()

    assert lifetimes.session(remember=False) == (30 * MINUTE, 12 * HOUR)
    assert lifetimes.session(remember=True) == (14 * DAY, 90 * DAY)
    assert REVOCATION_GRACE > ACCESS_TTL_CAP + LEEWAY
