"""Owns what a deployment asks of its edge: where things are, and which paths lead to which service.

A route is written `PREFIX=URL` and, after semicolons, what its service wants: `/orders/=http://orders:8000;audience=orders`.
"""

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

_SCHEMES = {"http": (False, False), "https": (False, True), "grpc": (True, False), "grpcs": (True, True)}
_WISHES = ("audience", "scopes", "mode", "optional", "login")
_PORTS = {False: 80, True: 443}


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a service is: a host and its port, or `unix:/path`.

    `ca_file`: whom its certificate must be from; None where it is reached in the clear.
    """

    host: str
    port: int
    http2: bool = False
    ca_file: Path | None = None


@dataclass(frozen=True, slots=True)
class ServiceRoute:
    """A service behind the edge. `wishes` are what it wants of whoever comes, see `authsvc.core.gate`."""

    prefix: str
    endpoint: Endpoint
    wishes: dict[str, str]

    @property
    def name(self) -> str:
        """A name for the cluster, from the prefix."""
        plain = "".join(letter if letter.isalnum() else "_" for letter in self.prefix.strip("/"))
        return f"service_{plain or 'root'}"


@dataclass(frozen=True, slots=True)
class Edge:
    """One edge.

    `certificate` is the chain and its key; None: in the clear, on this machine only. `trusted_hops`: proxies before it,
    each of which appends to `x-forwarded-for` whom it was called by. `descriptors`: the file that holds the contract's;
    None: they are written into the configuration.
    """

    listen: Endpoint
    certificate: tuple[Path, Path] | None
    server: Endpoint
    pages: Endpoint | None
    key_file: Path
    origins: tuple[str, ...]
    services: tuple[ServiceRoute, ...]
    trusted_hops: int = 0
    descriptors: Path | None = None


def read_endpoint(text: str, http2: bool = False, ca_file: Path | None = None) -> Endpoint:
    """Return the endpoint of `host:port`, `[address]:port` or `unix:/path`. Raises ValueError."""
    if text.startswith("unix:"):
        return Endpoint(text, 0, http2, ca_file)
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal():
        raise ValueError("must be host:port")
    return Endpoint(host.strip("[]"), int(port), http2, ca_file)


def read_service(text: str, ca_file: Path) -> ServiceRoute:
    """Return the route that a text asks for; `ca_file` is for services reached over TLS. Raises ValueError."""
    target, *wishes = text.split(";")
    prefix, _, address = target.partition("=")
    url = urlsplit(address)
    if (
        not prefix.startswith("/")
        or url.scheme not in _SCHEMES
        or not url.hostname
        or url.path not in ("", "/")
    ):
        raise ValueError(
            f"{text}: must be PREFIX=URL, such as /orders/=http://127.0.0.1:8000;audience=orders"
        )
    http2, tls = _SCHEMES[url.scheme]
    endpoint = Endpoint(url.hostname, url.port or _PORTS[tls], http2, ca_file if tls else None)
    return ServiceRoute(prefix, endpoint, _read_wishes(text, wishes))


def _read_wishes(text: str, wishes: list[str]) -> dict[str, str]:
    read = dict(wish.partition("=")[::2] for wish in wishes)
    if not read.get("audience") or not set(read) <= set(_WISHES) or len(read) != len(wishes):
        raise ValueError(f"{text}: must name an audience, and may name {', '.join(_WISHES[1:])}")
    return read
