"""Whose word is taken on where a user is, by rules alone. The same over the wire: tests/rpc/test_whereabouts.py."""

import pytest

from authsvc.core.trusted_hops import HopsUnreadable, TrustedHops, Whereabouts

PROXY, USER, LIAR = "10.1.2.3", "192.0.2.9", "203.0.113.66"
HOPS = TrustedHops(["10.0.0.0/8", "2001:db8:1::/48", "client:web"])


@pytest.mark.parametrize(
    ("forwarded", "found"),
    [
        ([USER], USER),
        ([f"{LIAR}, {USER}"], USER),
        ([LIAR, USER], USER),
        ([f"{LIAR}, {USER}, 10.9.9.9"], USER),
        ([f"10.7.7.7, {LIAR}, {USER}"], USER),
        (["10.7.7.7, 10.9.9.9"], "10.7.7.7"),
        ([f"{LIAR},{USER}:4711"], USER),
        ([f"{LIAR}, [2001:db8::1]:443"], "2001:db8::1"),
        ([f"{USER}, 2001:db8:1::5"], USER),
        ([f"{USER}, ::ffff:10.1.1.1"], USER),
        ([f"{USER}, unknown"], ""),
        ([f"{USER}, "], ""),
        ([f"{USER}, " + "9" * 4000], ""),
    ],
)
def test_behind_proxies(forwarded: list[str], found: str) -> None:
    """The last hop that is no proxy counts; what stands before it anybody may have written."""
    whereabouts = HOPS.find(PROXY, forwarded, "web", LIAR)

    assert whereabouts == (Whereabouts(found, True) if found else Whereabouts(PROXY, False))


@pytest.mark.parametrize(
    ("peer", "client_id", "reported", "found"),
    [
        (USER, "", "", Whereabouts(USER, True)),
        (USER, "", LIAR, Whereabouts(USER, True)),
        (USER, "mobile", LIAR, Whereabouts(USER, True)),
        (USER, "mobile", "", Whereabouts(USER, True)),
        ("192.0.2.50", "web", USER, Whereabouts(USER, True)),
        ("192.0.2.50", "web", "", Whereabouts("192.0.2.50", False)),
        ("", "web", USER, Whereabouts(USER, True)),
        ("", "mobile", USER, Whereabouts("", True)),
    ],
)
def test_without_a_proxy(peer: str, client_id: str, reported: str, found: Whereabouts) -> None:
    """Forwarding headers of a peer that is no proxy say nothing; a client's word counts if it is one of those named."""
    assert HOPS.find(peer, [f"{LIAR}, {LIAR}"], client_id, reported) == found


@pytest.mark.parametrize(
    ("client_id", "found"),
    [
        ("web", Whereabouts(USER, True)),
        ("mobile", Whereabouts(PROXY, False)),
        ("", Whereabouts(PROXY, False)),
    ],
)
def test_a_proxy_that_says_nothing(client_id: str, found: Whereabouts) -> None:
    """A call of a proxy's network that nobody has passed on is judged like any; its address is never one user's."""
    assert HOPS.find(PROXY, [], client_id, USER) == found


def test_unix_sockets() -> None:
    """Who calls over a Unix socket is a proxy only where that is said."""
    assert TrustedHops(["unix"]).find("", [USER], "web", LIAR) == Whereabouts(USER, True)
    assert HOPS.find("", [LIAR], "web", USER) == Whereabouts(USER, True)


def test_every_client() -> None:
    """`client:*` stands for every client, and for no user."""
    hops = TrustedHops(["client:*"])

    assert hops.find(USER, [LIAR], "any", LIAR) == Whereabouts(LIAR, True)
    assert hops.find(USER, [LIAR], "", LIAR) == Whereabouts(USER, True)


@pytest.mark.parametrize("word", ["10.0.0.1/8", "everybody", "*", "10.0.0.0/33", "web", ","])
def test_unreadable(word: str) -> None:
    """What is neither a network nor a client is a mistake, not nothing."""
    with pytest.raises(HopsUnreadable):
        TrustedHops(["client:web", word])
