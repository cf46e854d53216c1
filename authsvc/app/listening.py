"""Owns opening the ports for gRPC. Leaves what is served there to `authsvc.app.instance`.

gRPC for Python either demands a certificate of everybody who connects to a port, or asks nobody for one. So those who
have one and those who do not share a port only if all must have one; else the former get a port of their own.
"""

from dataclasses import dataclass

import grpc
import grpc.aio

from authsvc.app.certificates import Certificates
from authsvc.settings import Settings


class AddressTaken(Exception):
    """The address to listen on cannot be had. The message names it."""


@dataclass(frozen=True, slots=True)
class Ports:
    """The ports that the server listens on; 0 for a Unix socket. `mtls`: None if there is no second one."""

    main: int
    mtls: int | None = None


def open_ports(server: grpc.aio.Server, settings: Settings, certificates: Certificates | None) -> Ports:
    """Return the ports, now open. `certificates`: None for plaintext. Raises AddressTaken."""
    if certificates is None:
        return Ports(_open(server, settings.listen, None))
    asks_all = settings.tls_client_ca_file is not None and not settings.mtls_listen
    main = _open(server, settings.listen, certificates.credentials(ask_clients=asks_all))
    if not settings.mtls_listen:
        return Ports(main)
    return Ports(main, _open(server, settings.mtls_listen, certificates.credentials(ask_clients=True)))


def _open(server: grpc.aio.Server, listen: str, credentials: grpc.ServerCredentials | None) -> int:
    try:
        if credentials is None:
            return server.add_insecure_port(listen)
        return server.add_secure_port(listen, credentials)
    except RuntimeError:
        raise AddressTaken(f"cannot listen on {listen}: is it in use?") from None
