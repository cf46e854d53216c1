"""Owns what a servicer may know of the call it serves. Leaves where it comes from to the transport.

Nothing here is grpc.aio's: another transport can make a Call of its own.
"""

import ipaddress
from collections.abc import Callable, Iterable, Mapping, Sequence
from urllib.parse import unquote

from authsvc.core.callers import NOBODY, Caller
from authsvc.core.certificate_names import names_of
from authsvc.core.clock import SECOND
from authsvc.core.cookies import NO_COOKIES, Cookies, CookiesAmbiguous, read_cookies
from authsvc.core.errors import InvalidRequest
from authsvc.core.model import Device
from authsvc.core.operation import Asked
from authsvc.core.trusted_hops import Whereabouts

Metadata = Sequence[tuple[str, str | bytes]]
# What the edge puts on calls of browsers: tokens come and go as cookies, and in no other way. It takes the same from
# whoever else sends it.
COOKIES_MARK = "x-authsvc-cookies"
# Where the edge says that a browser is.
ADDRESS_KEY = "x-authsvc-address"
# What the verified certificate of the peer says, as gRPC has it: its values by property, such as `peer_dns`.
Certificate = Mapping[str, Iterable[bytes]]
NO_CERTIFICATE: dict[str, Iterable[bytes]] = {}


def _yes() -> bool:
    return True


class Call:
    """One call: its metadata, its peer, how long it is waited for (None: for ever) and, once known, who calls.

    `may_go_on` says of a stream whether its caller still may have it.
    """

    __slots__ = (
        "_cookies",
        "_get_certificate",
        "_get_peer",
        "_peer",
        "caller",
        "is_browsers",
        "may_go_on",
        "metadata",
        "set_cookies",
        "wait_ms",
        "where",
    )

    def __init__(
        self,
        metadata: Metadata,
        get_peer: Callable[[], str],
        wait_s: float | None,
        get_certificate: Callable[[], Certificate] = NO_CERTIFICATE.copy,
    ) -> None:
        """`wait_s`: seconds, as gRPC has them. `get_peer`, `get_certificate` are called when somebody wants to know:
        mostly nobody does."""
        self.metadata = metadata
        self._get_peer = get_peer
        self._get_certificate = get_certificate
        self.wait_ms = None if wait_s is None else max(0, int(wait_s * SECOND))
        self.caller: Caller = NOBODY
        self.may_go_on: Callable[[], bool] = _yes
        self.set_cookies: Sequence[str] = ()
        self.where: Whereabouts | None = None
        self.is_browsers = bool(self.get(COOKIES_MARK))
        """Whether the edge says that a browser asks: then no token comes or goes but as a cookie."""
        self._cookies: Cookies | None = None
        self._peer: str | None = None

    def get(self, key: str) -> list[str]:
        """Return the text values of a metadata key, which must be lower case."""
        return [value for name, value in self.metadata if name == key and isinstance(value, str)]

    @property
    def cookies(self) -> Cookies:
        """The cookies that came along. Raises InvalidRequest where they can be read in more than one way."""
        if self._cookies is None:
            entries = self.get("cookie")
            try:
                self._cookies = read_cookies(entries) if entries else NO_COOKIES
            except CookiesAmbiguous as error:
                raise InvalidRequest(("cookie", str(error))) from None
        return self._cookies

    @property
    def peer(self) -> str:
        """The peer as gRPC names it, such as `ipv4:127.0.0.1:50051`."""
        if self._peer is None:
            self._peer = self._get_peer()
        return self._peer

    @property
    def certificate_names(self) -> Sequence[str] | None:
        """The names in the certificate that the peer proved to hold; None if it has none."""
        certificate = self._get_certificate()
        if "x509_pem_cert" not in certificate:
            return None
        return names_of(certificate.get("peer_uri", ()), certificate.get("peer_dns", ()))

    @property
    def ip_address(self) -> str:
        """Where the user is, as far as anybody has looked; else the address of the peer."""
        return self.peer_address if self.where is None else self.where.ip_address

    @property
    def network_address(self) -> str:
        """The address that stands for the user's network; empty if it is not known, or that of many."""
        return self.where.ip_address if self.where is not None and self.where.is_users else ""

    @property
    def peer_address(self) -> str:
        """The address of the peer in text form; empty for a Unix socket."""
        kind, _, rest = unquote(self.peer).partition(":")
        if kind not in ("ipv4", "ipv6"):
            return ""
        return rest.rpartition(":")[0].strip("[]").partition("%")[0]

    @property
    def is_local(self) -> bool:
        """Whether the peer is on this machine: loopback, or a Unix socket."""
        if self.peer.startswith("unix:"):
            return True
        try:
            return ipaddress.ip_address(self.peer_address).is_loopback
        except ValueError:
            return False

    @property
    def asked(self) -> Asked:
        """The call as the rules see it."""
        return Asked(self.caller, self.device, self.wait_ms or 0)

    @property
    def device(self) -> Device:
        """Where the user is, and what the peer says that it is."""
        agent = (self.get("user-agent") or [""])[0]
        return Device(self.ip_address, agent[:512])
