"""Owns how a PostgreSQL server proves itself. Leaves connecting to `postgresql`.

A server on another machine is verified by certificate and host name unless its address says otherwise (libpq's
`sslmode`, whose own default would be content with plaintext): against the system's authorities, or those of the file
`sslrootcert`.
"""

import ssl
from collections.abc import Mapping

from sqlalchemy.engine import URL

from authsvc.stores.hosts import is_on_this_machine
from authsvc.stores.sql.address import UnknownDatabase

_FULL, _AUTHORITY = "verify-full", "verify-ca"
_MODES = frozenset({"disable", "allow", "prefer", "require", _AUTHORITY, _FULL})
_OPTIONS = frozenset({"sslmode", "sslrootcert", "sslcert", "sslkey", "sslnegotiation"})


def is_verified(url: URL) -> bool:
    """Whether a parsed address leaves no doubt who answers: a server on this machine, or one that proves who it is.

    `verify-ca` proves it only where the authority signs for nobody else, so not with the system's authorities.
    """
    options = _options(url)
    mode = options.get("sslmode", _FULL)
    return _is_local(url) or mode == _FULL or (mode == _AUTHORITY and _root(options) is not None)


def tls_of(url: URL) -> ssl.SSLContext | str:
    """Return how to connect, as asyncpg takes it; Unix sockets do without in any case. Raises UnknownDatabase."""
    options = _options(url)
    mode = options.get("sslmode") or ("prefer" if _is_local(url) else _FULL)
    if mode not in _MODES:
        raise UnknownDatabase("the database address has an sslmode that there is not")
    if unknown := sorted(name for name in options.keys() - _OPTIONS if name.startswith("ssl")):
        raise UnknownDatabase(
            f"the database address has options that are not known here: {', '.join(unknown)}"
        )
    return _context(options, mode) if mode in (_FULL, _AUTHORITY) else mode


def _context(options: Mapping[str, str], mode: str) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=_root(options))
        context.check_hostname = mode == _FULL
        if "sslcert" in options:
            context.load_cert_chain(options["sslcert"], options.get("sslkey"), password=lambda: b"")
    except (OSError, ValueError):
        raise UnknownDatabase("a certificate file that the database address names cannot be used") from None
    return context


def _root(options: Mapping[str, str]) -> str | None:
    root = options.get("sslrootcert")
    return None if root == "system" else root


def _is_local(url: URL) -> bool:
    """Whether every host is on this machine. Without a host it may be a Unix socket, but need not be."""
    given = url.query.get("host") or url.host or ""
    hosts = given.split(",") if isinstance(given, str) else given
    return all(is_on_this_machine(_without_port(host)) for host in hosts)


def _without_port(host: str) -> str:
    return host.rpartition(":")[0] if host.count(":") == 1 or host.startswith("[") else host


def _options(url: URL) -> dict[str, str]:
    return {name: value if isinstance(value, str) else value[-1] for name, value in url.query.items()}
