"""Owns the port that speaks HTTP: opening it, its bounds, closing it. Leaves what is answered to `application`.

uvicorn serves in this process's event loop, without its own signals and logs. It bounds how long a connection may be
idle; how long a request may take to arrive is bounded here, so that nobody holds a connection by sending a byte now and
then.
"""

import asyncio
import socket
import ssl
from contextlib import suppress
from pathlib import Path
from typing import Any

import h11
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from authsvc.http.answers import HEADERS_MAX_BYTES

ARRIVAL_S = 10.0
# Longer than proxies keep a connection that they do not use: they, not we, are to close it.
IDLE_S = 120
CONNECTIONS_MAX = 1024
_STOP_GRACE_S = 5
_BACKLOG = 256


class CannotListen(Exception):
    """The address cannot be had."""


class HttpListener:
    """Serves an application at one socket."""

    def __init__(self, application: ASGIApp, certificates: tuple[Path, Path] | None) -> None:
        """`certificates`: the chain and its key; None: in the clear."""
        self._config = uvicorn.Config(
            application,
            http=_Bounded,
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="error",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            limit_concurrency=CONNECTIONS_MAX,
            timeout_keep_alive=IDLE_S,
            timeout_graceful_shutdown=_STOP_GRACE_S,
            h11_max_incomplete_event_size=HEADERS_MAX_BYTES,
        )
        self._certificates = certificates
        self._server = uvicorn.Server(self._config)
        self._socket: socket.socket | None = None
        self._context: ssl.SSLContext | None = None
        self._ticking: asyncio.Task[None] | None = None

    async def start(self, listen: str, *, shares_port: bool = False) -> int:
        """Serve at `host:port` or `unix:path`; return the port, 0 for a Unix socket. Raises CannotListen."""
        try:
            self._socket = _open(listen, shares_port)
        except OSError:
            raise CannotListen(f"cannot listen on {listen}: is it in use?") from None
        self._config.load()
        self._context = self._config.ssl = _context(self._certificates)
        self._server.lifespan = self._config.lifespan_class(self._config)
        await self._server.startup([self._socket])
        self._ticking = asyncio.create_task(self._server.main_loop())
        name: Any = self._socket.getsockname()
        return 0 if self._socket.family == socket.AF_UNIX else int(name[1])

    def renew(self) -> None:
        """Show the certificate that is in the files now, to whoever connects from here on."""
        if self._context is not None and self._certificates is not None:
            self._context.load_cert_chain(*self._certificates)

    async def stop(self) -> None:
        """Take no more requests, and finish those under way."""
        if self._ticking is None or self._socket is None:
            return
        self._server.should_exit = True
        await self._ticking
        await self._server.shutdown([self._socket])


class _Bounded(H11Protocol):
    """HTTP/1.1, where a request must arrive whole within `ARRIVAL_S` of its first byte or of the connection."""

    _arriving: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        self._arriving = self.loop.call_later(ARRIVAL_S, transport.close)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if not self._is_arriving():
            self._stop_waiting()
        elif self._arriving is None:
            self._arriving = self.loop.call_later(ARRIVAL_S, self.transport.close)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def _is_arriving(self) -> bool:
        """Whether part of a request has come and the rest has not."""
        begun, _ = self.conn.trailing_data
        return self.conn.their_state is h11.SEND_BODY or (self.conn.their_state is h11.IDLE and bool(begun))

    def _stop_waiting(self) -> None:
        if self._arriving is not None:
            self._arriving.cancel()
            self._arriving = None


def _open(listen: str, shares_port: bool) -> socket.socket:
    if listen.startswith("unix:"):
        return _open_unix(Path(listen.removeprefix("unix:")))
    host, _, port = listen.rpartition(":")
    family, kind, protocol, _, address = socket.getaddrinfo(
        host.strip("[]"), int(port), type=socket.SOCK_STREAM
    )[0]
    opened = socket.socket(family, kind, protocol)
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shares_port:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        opened.bind(address)
        opened.listen(_BACKLOG)
    except OSError:
        opened.close()
        raise
    return opened


def _open_unix(path: Path) -> socket.socket:
    with suppress(FileNotFoundError):
        if path.is_socket():
            path.unlink()  # left behind by a process that was killed
    opened = socket.socket(socket.AF_UNIX)
    try:
        opened.bind(str(path))
        opened.listen(_BACKLOG)
    except OSError:
        opened.close()
        raise
    return opened


def _context(certificates: tuple[Path, Path] | None) -> ssl.SSLContext | None:
    if certificates is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(*certificates)
    return context
