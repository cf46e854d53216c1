"""An instance that speaks TLS, in this process, and channels to it, with and without a client's certificate."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

from tests.parts.authority import Authority, Signed, server_names
from tests.parts.service import MovableClock, Service, run_service


class TlsService(Service):
    """A running instance, and the authorities of its certificate and of its clients'."""

    servers: Authority
    clients: Authority
    files: tuple[Path, Path]

    def connect(self, client: Signed | None = None, *, mtls: bool = False) -> grpc.aio.Channel:
        """Return a channel of its own, with this client's certificate."""
        port = self.app.ports.mtls if mtls else self.app.ports.main
        pair = (client.key, client.chain) if client else (None, None)
        credentials = grpc.ssl_channel_credentials(self.servers.pem, *pair)
        options = [("grpc.use_local_subchannel_pool", 1)]
        return grpc.aio.secure_channel(f"localhost:{port}", credentials, options)


@asynccontextmanager
async def run_tls_service(
    directory: Path,
    database_url: str,
    cache_url: str,
    *,
    asks_clients: bool = True,
    clock: MovableClock | None = None,
    **changed: Any,
) -> AsyncIterator[TlsService]:
    """Run an instance with two ports: one for everybody, one for clients with certificates. `changed` settings."""
    servers, clients = Authority("Servers"), Authority("Clients")
    cert_file, key_file = servers.sign(*server_names()).write(directory, "server")
    settings: dict[str, Any] = {
        "plaintext": False,
        "tls_cert_file": cert_file,
        "tls_key_file": key_file,
    }
    if asks_clients:
        settings |= {
            "tls_client_ca_file": clients.write(directory, "clients"),
            "mtls_listen": "127.0.0.1:0",
        }
    async with run_service(database_url, cache_url, clock, **settings | changed) as running:
        service = TlsService(running.app, running.clock, running.channel, running.keys)
        service.servers, service.clients, service.files = servers, clients, (cert_file, key_file)
        service.channel = service.connect()
        try:
            yield service
        finally:
            await service.channel.close()
