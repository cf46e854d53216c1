"""Owns holding a port for several processes: bound, never listening. Leaves listening there to the workers.

The port is bound exclusively, so that a second server on it is refused, and only then opened to other sockets of this
user that ask for SO_REUSEPORT: the workers. A bound socket that does not listen gets no connections.
"""

import socket
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Self

_WILDCARDS = ("0.0.0.0", "::")  # noqa: S104  compared with, not bound


class CannotReserve(Exception):
    """The address cannot be had. The message names it and says why."""


@dataclass(frozen=True, slots=True)
class Port:
    """A port that is held until it is closed. `address`: as was asked for, with the number that it has got."""

    address: str
    _sockets: ExitStack

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the port back, once no worker listens any more."""
        self._sockets.close()


def reserve(listen: str) -> Port:
    """Hold the port of `host:port`; port 0 is any free one. Raises CannotReserve."""
    if listen.startswith("unix:"):
        raise CannotReserve("workers need a TCP address to listen on: a Unix socket has one owner")
    host, _, number = listen.rpartition(":")
    with ExitStack() as sockets:
        port = int(number)
        try:
            for family, address in _addresses(host.strip("[]")):
                port = _bind(sockets.enter_context(socket.socket(family)), address, port)
        except OSError:
            raise CannotReserve(f"cannot listen on {listen}: is it in use?") from None
        return Port(f"{host}:{port}", sockets.pop_all())
    raise AssertionError("not reached")


def _addresses(host: str) -> list[tuple[socket.AddressFamily, str]]:
    """What gRPC binds for a host: of a wildcard both families at once, of a name everything that it stands for."""
    if host in _WILDCARDS:
        return [(socket.AF_INET6, "::") if socket.has_dualstack_ipv6() else (socket.AF_INET, _WILDCARDS[0])]
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys((family, str(address[0])) for family, _, _, _, address in found))


def _bind(held: socket.socket, address: str, port: int) -> int:
    if held.family == socket.AF_INET6:
        held.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, address != "::")
    held.bind((address, port))
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    return int(held.getsockname()[1])
