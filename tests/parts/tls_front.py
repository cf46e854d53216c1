"""A front that speaks TLS for a server on this host that cannot, as those of PostgreSQL's and Valkey's wheels."""

import asyncio
import ssl
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from tests.parts.authority import Signed

_SSL_REQUEST = struct.pack("!II", 8, 80877103)


class Front:
    """Passes on what comes over TLS; counts connections that came in the clear."""

    def __init__(self, upstream: str | int, context: ssl.SSLContext, *, postgresql: bool) -> None:
        self.port = 0
        self.in_the_clear = 0
        self._upstream = upstream
        self._context = context
        self._postgresql = postgresql
        self._under_way: set[asyncio.Task[None]] = set()

    async def connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Join one caller to the server."""
        task = asyncio.current_task()
        assert task is not None
        self._under_way.add(task)
        with suppress(OSError, EOFError, ssl.SSLError, asyncio.CancelledError):
            if await self._is_safe(reader, writer):
                await self._join(reader, writer)
        self._under_way.discard(task)
        writer.transport.abort()

    async def end(self) -> None:
        """Drop every connection."""
        for task in list(self._under_way):
            task.cancel()
        await asyncio.gather(*self._under_way, return_exceptions=True)

    async def _is_safe(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Agree on TLS as PostgreSQL does, inside its protocol; Valkey's is there from the first byte."""
        if self._postgresql:
            if await reader.readexactly(8) != _SSL_REQUEST:
                self.in_the_clear += 1
                return False
            writer.write(b"S")
        await writer.start_tls(self._context)
        return True

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if isinstance(self._upstream, int):
            there, here = await asyncio.open_connection("127.0.0.1", self._upstream)
        else:
            there, here = await asyncio.open_unix_connection(self._upstream)
        ways = [asyncio.create_task(_carry(*way)) for way in ((reader, here), (there, writer))]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            here.transport.abort()


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError, ssl.SSLError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()


@asynccontextmanager
async def tls_front(
    upstream: str | int, signed: Signed, directory: Path, *, postgresql: bool = False
) -> AsyncIterator[Front]:
    """Put it in front of a server, at a Unix socket or a port, for as long as the block runs."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*signed.write(directory, "front"))
    front = Front(upstream, context, postgresql=postgresql)
    server = await asyncio.start_server(front.connect, "127.0.0.1", 0)
    front.port = server.sockets[0].getsockname()[1]
    async with server:
        yield front
        server.close()
        await front.end()
