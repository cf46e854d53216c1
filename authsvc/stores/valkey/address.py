"""Owns how the cache's URL is read. Leaves connecting to `dial` and `topology`."""

import ssl
from dataclasses import dataclass, field, replace
from enum import Enum
from functools import cache
from urllib.parse import parse_qsl, unquote, urlencode

from authsvc.stores.hosts import is_on_this_machine

_PORT = 6379
_SENTINEL_PORT = 26379


class Kind(Enum):
    """How the servers are arranged."""

    STANDALONE = "standalone"
    SENTINEL = "sentinel"
    CLUSTER = "cluster"


# Valkey's own scheme names mean the same as Redis's. The flag says whether to use TLS.
_SCHEMES = {
    "redis": (Kind.STANDALONE, False),
    "rediss": (Kind.STANDALONE, True),
    "unix": (Kind.STANDALONE, False),
    "redis+unix": (Kind.STANDALONE, False),
    "redis+sentinel": (Kind.SENTINEL, False),
    "rediss+sentinel": (Kind.SENTINEL, True),
    "redis+cluster": (Kind.CLUSTER, False),
    "rediss+cluster": (Kind.CLUSTER, True),
}
_OPTIONS = frozenset({"ca_file", "sentinel_username", "sentinel_password", "unsafe_plaintext"})


@dataclass(frozen=True, slots=True)
class Credentials:
    """Who we are at a server."""

    username: str = ""
    password: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Tls:
    """How the server proves itself. Certificate and host name are always verified; a `ca_file` stands in for the
    system's authorities."""

    ca_file: str | None = None

    def context(self) -> ssl.SSLContext:
        """Return the context to connect with. Raises OSError if the file cannot be read."""
        return _context(self.ca_file)


@cache
def _context(ca_file: str | None) -> ssl.SSLContext:
    """Read once: authorities take some milliseconds to read, and dialling must not hold the event loop up."""
    return ssl.create_default_context(cafile=ca_file)


class NotVerified(OSError):
    """The server is on another machine, and would be spoken to in the clear."""


@dataclass(frozen=True, slots=True)
class Address:
    """One server: `host` and `port`, or the path of a Unix socket; and how to enter.

    `unsafe_plaintext`: whether it may be spoken to in the clear, wherever it is.
    """

    host: str
    port: int
    path: str = ""
    db: int = 0
    credentials: Credentials = Credentials()
    tls: Tls | None = None
    unsafe_plaintext: bool = False

    def ensure_verified(self) -> None:
        """Return if nobody else can answer, or listen: the server is on this machine, or proves who it is. To be asked
        before anything is sent. Raises NotVerified."""
        if self.tls or self.path or self.unsafe_plaintext or is_on_this_machine(self.host):
            return
        raise NotVerified(f"plaintext to {self}, which is on another machine")

    def __str__(self) -> str:
        return self.path or f"{self.host}:{self.port}"

    def at(self, host: str, port: int) -> "Address":
        """Return another server that is entered in the same way."""
        return replace(self, host=host, port=port)


@dataclass(frozen=True, slots=True)
class CacheUrl:
    """A cache URL, read. `servers` are the server, the sentinels, or some nodes of the cluster; `entry` says how to
    enter the data servers that these lead to."""

    kind: Kind
    servers: tuple[Address, ...]
    entry: Address
    service: str = ""


def parse_cache_url(url: str) -> CacheUrl:
    """Read `redis://[user:password@]host[:port][/db]`, `rediss://`, `unix:///path[?db=n]`,
    `redis+sentinel://host,host/service[/db]`, `redis+cluster://host,host`; `valkey` may stand for `redis`.

    Options: `ca_file` (TLS), `sentinel_username`, `sentinel_password`, and `unsafe_plaintext=true` for servers on other
    machines without TLS. Raises ValueError, without the URL in its text.
    """
    scheme, separator, rest = url.partition("://")
    scheme = scheme.lower().replace("valkey", "redis", 1)
    if not separator or scheme not in _SCHEMES:
        raise ValueError(f"a cache URL starts with one of: {', '.join(f'{name}://' for name in _SCHEMES)}")
    kind, tls = _SCHEMES[scheme]
    rest, _, query = rest.partition("?")
    options = dict(parse_qsl(query, keep_blank_values=True))
    netloc, _, path = rest.partition("/")
    userinfo, _, hosts = netloc.rpartition("@")

    if "unix" in scheme:
        db = _db(options.pop("db", ""))
        _refuse_unknown(options)
        address = Address("", 0, f"/{unquote(path)}", db, _credentials(userinfo))
        return CacheUrl(kind, (address,), address)
    _refuse_unknown(options)
    service, _, db_text = path.partition("/") if kind is Kind.SENTINEL else ("", "", path)
    if kind is Kind.SENTINEL and not service:
        raise ValueError("a sentinel URL names the service: redis+sentinel://host:port/service")
    unsafe = options.get("unsafe_plaintext") == "true"
    entry = Address("", 0, "", _db(db_text), _credentials(userinfo), _tls(options) if tls else None, unsafe)
    if kind is Kind.CLUSTER and entry.db:
        raise ValueError("a cluster has only database 0")
    door = entry
    if kind is Kind.SENTINEL:
        names = Credentials(options.get("sentinel_username", ""), options.get("sentinel_password", ""))
        door = replace(entry, credentials=names, db=0)
    default_port = _SENTINEL_PORT if kind is Kind.SENTINEL else _PORT
    servers = tuple(door.at(*_host_and_port(text, default_port)) for text in hosts.split(","))
    if kind is Kind.STANDALONE and len(servers) > 1:
        raise ValueError("several servers need redis+sentinel:// or redis+cluster://")
    return CacheUrl(kind, servers, servers[0] if kind is Kind.STANDALONE else entry, unquote(service))


def with_option(url: str, name: str, value: str) -> str:
    """Return the cache URL with one more option."""
    return f"{url}{'&' if '?' in url else '?'}{urlencode({name: value})}"


def _host_and_port(text: str, default_port: int) -> tuple[str, int]:
    """Read `host`, `host:port`, `[v6]` or `[v6]:port`."""
    if text.startswith("["):
        host, _, tail = text[1:].partition("]")
        port = tail.removeprefix(":")
    else:
        host, _, port = text.partition(":")
    host = host or "localhost"
    try:
        host.encode("idna")
    except UnicodeError:
        raise ValueError("the cache URL has a host that is none") from None
    if not port:
        return host, default_port
    if not (port.isascii() and port.isdecimal() and 0 < int(port) < 65536):
        raise ValueError("the cache URL has a port that is none")
    return host, int(port)


def _credentials(userinfo: str) -> Credentials:
    username, _, password = userinfo.partition(":")
    return Credentials(unquote(username), unquote(password))


def _db(text: str) -> int:
    if not text:
        return 0
    if not (text.isascii() and text.isdecimal()):
        raise ValueError("the cache URL's database must be a number")
    return int(text)


def _tls(options: dict[str, str]) -> Tls:
    tls = Tls(options.get("ca_file"))
    try:
        tls.context()
    except OSError as error:
        raise ValueError("the cache URL's ca_file cannot be read") from error
    return tls


def _refuse_unknown(options: dict[str, str]) -> None:
    if unknown := sorted(options.keys() - _OPTIONS):
        raise ValueError(f"the cache URL has unknown options: {', '.join(unknown)}")
