"""Cache URLs: what is understood, what is refused, and that no text tells the password."""

import pytest

from authsvc.stores.valkey.address import CacheUrl, Credentials, Kind, parse_cache_url


def places(url: CacheUrl) -> list[tuple[str, int]]:
    """Host and port of each server."""
    return [(server.host, server.port) for server in url.servers]


@pytest.mark.parametrize(
    ("text", "kind", "where", "db", "tls"),
    [
        ("redis://cache", Kind.STANDALONE, [("cache", 6379)], 0, False),
        ("valkey://cache:7000/3", Kind.STANDALONE, [("cache", 7000)], 3, False),
        ("rediss://cache", Kind.STANDALONE, [("cache", 6379)], 0, True),
        ("valkeys://[2001:db8::1]:7000", Kind.STANDALONE, [("2001:db8::1", 7000)], 0, True),
        ("redis+sentinel://a,b:1/main", Kind.SENTINEL, [("a", 26379), ("b", 1)], 0, False),
        ("rediss+sentinel://a/main/2", Kind.SENTINEL, [("a", 26379)], 2, True),
        ("redis+cluster://a,b:1", Kind.CLUSTER, [("a", 6379), ("b", 1)], 0, False),
        ("valkeys+cluster://a", Kind.CLUSTER, [("a", 6379)], 0, True),
    ],
)
def test_arrangements(text: str, kind: Kind, where: list[tuple[str, int]], db: int, tls: bool) -> None:
    """Each scheme names an arrangement; hosts, ports, database and TLS are read from their usual places."""
    url = parse_cache_url(text)

    assert (url.kind, places(url), url.entry.db, url.entry.tls is not None) == (kind, where, db, tls)


def test_unix_socket() -> None:
    """A Unix socket is named by its path, and the database by an option."""
    url = parse_cache_url("unix://:word@/run/with%20space/valkey.sock?db=2")

    assert (url.entry.path, url.entry.db) == ("/run/with space/valkey.sock", 2)
    assert url.entry.credentials.password == "word"


def test_credentials_are_decoded() -> None:
    """User and password may hold any character, percent-encoded."""
    url = parse_cache_url("redis://authsvc:p%40ss%3A%2F@cache")

    assert url.entry.credentials == Credentials("authsvc", "p@ss:/")


def test_sentinels_have_credentials_of_their_own() -> None:
    """The servers' password is not shown to the sentinels, nor the other way round."""
    url = parse_cache_url("redis+sentinel://u:data@a/main?sentinel_password=guard")

    assert url.service == "main"
    assert url.servers[0].credentials == Credentials("", "guard")
    assert url.entry.credentials == Credentials("u", "data")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "cache:6379",
        "http://canary@cache",
        "redis://:canary@cache:port",
        "redis://:canary@cache:70000",
        "redis://:canary@cache/db",
        "redis://:canary@a,b",
        "redis://:canary@cache?ssl_cert_reqs=none",
        "redis://:canary@a..b",
        "redis+sentinel://:canary@a",
        "redis+cluster://:canary@a/1",
        "rediss://:canary@a?ca_file=/does/not/exist",
    ],
)
def test_what_is_wrong_is_refused_without_telling_it(text: str) -> None:
    """A URL that cannot be read is refused, above all one that would weaken TLS; the text holds nothing of it."""
    with pytest.raises(ValueError, match=r"cache URL|sentinel URL|servers|cluster") as raised:
        parse_cache_url(text)

    assert "canary" not in str(raised.value)


def test_reprs_tell_no_password() -> None:
    """Whoever prints a parsed URL prints no password."""
    url = parse_cache_url("redis+sentinel://:canary@a/main?sentinel_password=canary")

    assert "canary" not in repr(url)
    assert "canary" not in str(url.entry)
