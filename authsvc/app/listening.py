"""Owns opening the port. Leaves what is served there to `authsvc.app.instance`."""

import grpc
import grpc.aio

from authsvc.settings import Settings


class AddressTaken(Exception):
    """The address to listen on cannot be had. The message names it."""


def open_port(server: grpc.aio.Server, settings: Settings) -> int:
    """Return the port that the server listens on, 0 for a Unix socket. Raises AddressTaken."""
    try:
        if settings.tls_cert_file is None or settings.tls_key_file is None:
            return server.add_insecure_port(settings.listen)
        pair = (settings.tls_key_file.read_bytes(), settings.tls_cert_file.read_bytes())
        return server.add_secure_port(settings.listen, grpc.ssl_server_credentials([pair]))
    except RuntimeError:
        raise AddressTaken(f"cannot listen on {settings.listen}: is it in use?") from None
