"""Owns whose word is taken on where a user is. Leaves reading requests to `authsvc.rpc`.

Two kinds of callers may speak of other addresses than their own. A proxy in front of authsvc, recognised by its
network, writes into `x-forwarded-for` whom it got the call from; what came before the first address that is no proxy's
was written by whoever wanted to, and is not read. A client, recognised by its key, tells in `device.ip_address`; of a
call that a proxy has passed on the message was written beyond the proxy, and its word is not taken.
"""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

EVERY_CLIENT = "client:*"
_CLIENT = "client:"
_UNIX = "unix"
_LONGEST_ADDRESS = 64  # an IPv6 address of 45 characters, and a zone
_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class HopsUnreadable(ValueError):
    """The list cannot be read; the message says what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """Where a user is as far as is known; `is_users`: not the address of somebody who speaks for many."""

    ip_address: str
    is_users: bool


class TrustedHops:
    """Networks of proxies, and ids of clients."""

    def __init__(self, words: Sequence[str]) -> None:
        """`words`: networks (10.0.0.0/8, 192.0.2.7, 2001:db8::/32), `unix` for who calls over a Unix socket, and
        `client:ID` or `client:*`. Raises HopsUnreadable."""
        self._clients = {word.removeprefix(_CLIENT) for word in words if word.startswith(_CLIENT)}
        self._unix = _UNIX in words
        self._networks = [_network(word) for word in words if word != _UNIX and not word.startswith(_CLIENT)]

    def find(self, peer: str, forwarded: Sequence[str], client_id: str, reported: str) -> Whereabouts:
        """Return where the user is.

        `peer`: address of the other end of the connection, empty for a Unix socket. `forwarded`: `x-forwarded-for`
        entries in order. `client_id`: empty if it is a user who calls. `reported`: `device.ip_address`.
        """
        through_proxy = self._is_proxy(peer) or (not peer and self._unix)
        if through_proxy and any(forwarded):
            before = self._before_proxies(forwarded)
            return Whereabouts(before, is_users=True) if before else Whereabouts(peer, is_users=False)
        if not self._may_report(client_id):
            return Whereabouts(peer, is_users=not through_proxy)
        # A client that may tell, and does not (or tells what is no address, which is not written down anywhere): its
        # own address is that of all its users.
        return (
            Whereabouts(reported, is_users=True) if _address(reported) else Whereabouts(peer, is_users=False)
        )

    def _before_proxies(self, forwarded: Sequence[str]) -> str:
        """The last address that is no proxy's; the first of all if every one is. Empty if it is no address."""
        hop = ""
        for word in reversed(",".join(forwarded).split(",")):
            hop = _without_port(word.strip())
            if not self._is_proxy(hop):
                break
        return hop if _address(hop) else ""

    def _is_proxy(self, ip_address: str) -> bool:
        address = _address(ip_address)
        return address is not None and any(address in network for network in self._networks)

    def _may_report(self, client_id: str) -> bool:
        return bool(client_id) and ("*" in self._clients or client_id in self._clients)


def _address(text: str) -> _Address | None:
    """Return the address; of an IPv4 address written as one of IPv6, that."""
    return _read_address(text) if len(text) <= _LONGEST_ADDRESS else None


@lru_cache(maxsize=4096)
def _read_address(text: str) -> _Address | None:
    """The same addresses come again and again, each of them in several calls."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _network(word: str) -> _Network:
    try:
        return ipaddress.ip_network(word)
    except ValueError:
        raise HopsUnreadable(
            "must be networks such as 10.0.0.0/8, unix, and client:ID or client:*, with spaces between"
        ) from None


def _without_port(hop: str) -> str:
    """An address as some proxies write it: `192.0.2.7:4711`, `[2001:db8::1]:4711`."""
    if hop.startswith("["):
        return hop[1:].partition("]")[0]
    return hop.partition(":")[0] if hop.count(":") == 1 else hop
