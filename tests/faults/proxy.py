"""Owns a wire between an instance and a store that can be stalled, cut, delayed, sliced and reset, each way.

Leaves when to do so to the nemesis. Bytes are never changed, reordered or dropped while a connection lives: it is TCP.
"""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Upstream = Callable[[], Awaitable[Streams]]

_RST_ON_CLOSE = struct.pack("ii", 1, 0)


class Way:
    """One direction of a wire."""

    def __init__(self) -> None:
        self.delay_s = 0.0
        self.slice_bytes = 0
        self._flowing = asyncio.Event()
        self._flowing.set()

    def stall(self) -> None:
        """Let nothing through; connections stay open."""
        self._flowing.clear()

    def heal(self) -> None:
        """Let everything through, whole and at once."""
        self.delay_s, self.slice_bytes = 0.0, 0
        self._flowing.set()

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry bytes until either side ends."""
        while data := await reader.read(65_536):
            if self.delay_s:
                await asyncio.sleep(self.delay_s)
            for piece in self._pieces(data):
                await self._flowing.wait()
                writer.write(piece)
                await writer.drain()

    def _pieces(self, data: bytes) -> list[bytes]:
        size = self.slice_bytes
        return [data[at : at + size] for at in range(0, len(data), size)] if size else [data]


class Wire:
    """A port on loopback that leads to `upstream`. `there` carries what callers send, `back` the replies."""

    def __init__(self, upstream: Upstream) -> None:
        self.upstream = upstream
        self.there, self.back = Way(), Way()
        self.port = 0
        self._refusing = False
        self._under_way: set[asyncio.Task[None]] = set()

    def stall(self) -> None:
        """Let nothing through, either way. New connections are taken up and hang, too."""
        self.there.stall()
        self.back.stall()

    def lose_replies(self) -> None:
        """Let requests through and no replies: what is asked for happens, and nobody hears of it."""
        self.back.stall()

    def delay(self, seconds: float) -> None:
        """Hold everything up for so long, each way."""
        self.there.delay_s = self.back.delay_s = seconds

    def slice(self, size: int) -> None:
        """Pass bytes on in pieces of this size."""
        self.there.slice_bytes = self.back.slice_bytes = size

    def reset(self) -> None:
        """Break every connection now, with a RST to both sides. New ones are taken up."""
        for task in list(self._under_way):
            task.cancel()

    async def end(self) -> None:
        """Break every connection, and return when nothing is left of any."""
        under_way = list(self._under_way)
        self.reset()
        await asyncio.gather(*under_way, return_exceptions=True)

    def cut(self) -> None:
        """Break every connection, and refuse new ones until healed."""
        self._refusing = True
        self.reset()

    def heal(self) -> None:
        """Let everything through again."""
        self._refusing = False
        self.there.heal()
        self.back.heal()

    async def connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Join one caller to the upstream until either ends, or the wire is cut."""
        task = asyncio.current_task()
        assert task is not None
        self._under_way.add(task)
        try:
            if not self._refusing:
                with suppress(OSError, asyncio.CancelledError):
                    await self._join(reader, writer)
        finally:
            self._under_way.discard(task)
            _break_off(writer)

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, here = await self.upstream()
        ways = [
            asyncio.create_task(self.there.carry(reader, here)),
            asyncio.create_task(self.back.carry(there, writer)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            _break_off(here)


def _break_off(writer: asyncio.StreamWriter) -> None:
    connection = writer.get_extra_info("socket")
    if connection is not None and connection.family == socket.AF_INET:
        with suppress(OSError):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RST_ON_CLOSE)
    writer.transport.abort()


def to_port(port: int) -> Upstream:
    """A server on loopback."""

    async def upstream() -> Streams:
        return await asyncio.open_connection("127.0.0.1", port)

    return upstream


def to_socket(path: str) -> Upstream:
    """A server on a Unix socket."""

    async def upstream() -> Streams:
        return await asyncio.open_unix_connection(path)

    return upstream


@asynccontextmanager
async def wire(upstream: Upstream) -> AsyncIterator[Wire]:
    """Lay a wire for as long as the block runs."""
    laid = Wire(upstream)
    server = await asyncio.start_server(laid.connect, "127.0.0.1", 0)
    laid.port = server.sockets[0].getsockname()[1]
    try:
        yield laid
    finally:
        server.close()
        laid.heal()
        await laid.end()
