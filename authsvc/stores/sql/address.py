"""Owns what a database address may look like. Leaves opening it to `postgresql` and `sqlite`."""

from pathlib import Path
from urllib.parse import quote

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

_POSTGRESQL = frozenset({"postgres", "postgresql", "postgresql+asyncpg"})
_SQLITE = frozenset({"sqlite", "sqlite+aiosqlite"})


class UnknownDatabase(ValueError):
    """The address is not one this service can open. The text never repeats the address: it may hold a password."""


def parse(database_url: str) -> URL:
    """Read `postgresql://…` or `sqlite:///path`, with or without the driver's name, and name the driver.

    PostgreSQL may have several hosts, `postgresql://user@one:5432,other:5432/name`; see `of_each_host`.
    Raises UnknownDatabase. A database in memory is refused: every connection would see another one.
    """
    try:
        url = make_url(_with_hosts_as_option(database_url))
    except (ArgumentError, ValueError):
        raise UnknownDatabase("the database address is not a URL") from None
    if url.drivername in _POSTGRESQL:
        return url.set(drivername="postgresql+asyncpg")
    if url.drivername not in _SQLITE:
        raise UnknownDatabase("the database address must begin with postgresql:// or sqlite:///")
    if url.database in (None, "", ":memory:"):
        raise UnknownDatabase(
            "the SQLite address must name a file: sqlite:///relative or sqlite:////absolute"
        )
    return url.set(drivername="sqlite+aiosqlite")


def with_authorities(database_url: str, file: Path) -> str:
    """Return a PostgreSQL address that also names whom the server's certificate must come from; others as they are.

    Raises UnknownDatabase, also if it names somebody already.
    """
    url = parse(database_url)
    if not is_postgresql(url):
        return database_url
    if "sslrootcert" in url.query:
        raise UnknownDatabase("the database address has an sslrootcert of its own")
    return url.update_query_dict({"sslrootcert": str(file)}).render_as_string(hide_password=False)


def is_postgresql(url: URL) -> bool:
    """Say which of the two kinds a parsed address is."""
    return url.get_backend_name() == "postgresql"


def dsn(url: URL) -> str:
    """Write a parsed PostgreSQL address as libpq and asyncpg read it, password and all. For the driver only."""
    return url.set(drivername="postgresql").render_as_string(hide_password=False)


def of_each_host(url: URL) -> list[URL]:
    """Return the address of each host of a parsed PostgreSQL address that has several; else that address alone.

    Of several only the one that is the primary at the moment will do (libpq's `target_session_attrs`).
    """
    given = url.query.get("host") or ""
    hosts = given.split(",") if isinstance(given, str) else list(given)
    if len(hosts) < 2:
        return [url]
    one = url.update_query_dict({"target_session_attrs": "primary"})
    return [one.update_query_dict({"host": host}) for host in hosts]


def file(url: URL) -> Path:
    """Return the file of a parsed SQLite address."""
    return Path(url.database or "")


def _with_hosts_as_option(database_url: str) -> str:
    """Move several hosts to the option `host`, which means the same; SQLAlchemy reads them there."""
    scheme, separator, rest = database_url.partition("://")
    authority, _, tail = rest.partition("/")
    credentials, at, hosts = authority.rpartition("@")
    if "," not in hosts:
        return database_url
    path, _, query = tail.partition("?")
    options = "&".join(filter(None, (f"host={quote(hosts, safe='')}", query)))
    return f"{scheme}{separator}{credentials}{at}/{path}?{options}"
