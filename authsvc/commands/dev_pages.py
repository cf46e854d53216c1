"""Owns the pages of `authsvc dev`: a real Envoy before them, at an address for this machine's browsers.

In the clear, which is good enough here: at http://localhost browsers keep cookies for TLS, too (Safari does not).
Without Envoy there are no cookies, so nobody can log in in a browser; then it is said what is missing. Leaves Envoy's
configuration to `authsvc.edge`.
"""

import asyncio
import os
import socket
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from authsvc.app import App
from authsvc.commands.edge import find_envoy
from authsvc.commands.failure import CommandFailed
from authsvc.edge.asked import Edge, Endpoint
from authsvc.edge.bootstrap import bootstrap
from authsvc.edge.yaml import written
from authsvc.stores.embedded import free_port, spawn_tied

_PORT = 8080
_LOOPBACK = "127.0.0.1"
_START_S = 10.0
_POLL_S = 0.02


def choose_port() -> int:
    """Return the usual port, or any free one if that is taken."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((_LOOPBACK, _PORT))
        except OSError:
            return free_port()
    return _PORT


def origins(port: int) -> str:
    """Return the origins of the pages at this port, as a setting. The first is the one to show."""
    return f"http://localhost:{port},http://{_LOOPBACK}:{port}"


@asynccontextmanager
async def serve_pages(app: App, client_key: str, data: Path) -> AsyncIterator[str]:
    """Serve the pages for the length of the block; gives what to tell about them."""
    here = app.settings.origins(app.settings.issuer)[0]
    listen = app.settings.listen
    try:
        envoy = find_envoy()
    except CommandFailed as missing:
        yield f"No pages to log in at: {missing}"
        return
    if listen.startswith("unix:"):
        yield "No pages to log in at: Envoy finds the server at a TCP address alone."
        return
    running = _start(envoy, app, client_key, data, int(here.rpartition(":")[2]))
    try:
        up = await _comes_up(running, int(here.rpartition(":")[2]))
        yield (
            f"Pages: {here}/login, for a browser on this machine."
            if up
            else f"No pages to log in at: Envoy did not start at {here}."
        )
    finally:
        running.terminate()
        await asyncio.to_thread(running.wait)


def _start(envoy: str, app: App, client_key: str, data: Path, port: int) -> "subprocess.Popen[bytes]":
    key_file = data / "edge.key"
    key_file.unlink(missing_ok=True)
    with os.fdopen(os.open(key_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as to:
        to.write(client_key)
    edge = Edge(
        listen=Endpoint(_LOOPBACK, port),
        certificate=None,
        server=Endpoint(app.settings.listen.rpartition(":")[0].strip("[]"), app.port, http2=True),
        pages=Endpoint(_LOOPBACK, app.http.port),
        key_file=key_file,
        origins=app.settings.origins(app.settings.issuer),
        services=(),
    )
    configuration = data / "envoy.yaml"
    configuration.write_text(written(bootstrap(edge)))
    log = ["--log-path", str(data / "envoy.log"), "--log-level", "warning"]
    return spawn_tied(envoy, "-c", str(configuration), "--use-dynamic-base-id", "--concurrency", "1", *log)


async def _comes_up(running: "subprocess.Popen[bytes]", port: int) -> bool:
    """Wait until it takes connections; whether it does."""
    with suppress(TimeoutError):
        async with asyncio.timeout(_START_S):
            while running.poll() is None:
                try:
                    _, writer = await asyncio.open_connection(_LOOPBACK, port)
                except OSError:
                    await asyncio.sleep(_POLL_S)
                else:
                    writer.close()
                    return True
    return False
