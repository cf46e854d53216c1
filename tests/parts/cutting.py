"""A TCP wire between callers and a server on this host that can be cut, held still, or led to another server."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress


class Cutting:
    """Passes bytes on, both ways, between `address` and `127.0.0.1:server_port`."""

    def __init__(self, server_port: int) -> None:
        self.server_port = server_port
        self.connections = 0
        self.address = ""
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._under_way: set[asyncio.Task[None]] = set()

    async def connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Join one caller to the server until either ends or the wire is cut."""
        task = asyncio.current_task()
        assert task is not None
        self._under_way.add(task)
        self.connections += 1
        with suppress(OSError, asyncio.CancelledError):
            await self._join(reader, writer)
        self._under_way.discard(task)
        writer.transport.abort()

    def cut(self) -> None:
        """Break every connection now, without a word to either side."""
        for task in list(self._under_way):
            task.cancel()

    def hold(self) -> None:
        """Let nothing through, while connections stay open."""
        self._flowing.clear()

    def release(self) -> None:
        """Let what was held, and all that follows, through."""
        self._flowing.set()

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, here = await asyncio.open_connection("127.0.0.1", self.server_port)
        ways = [asyncio.create_task(self._carry(*way)) for way in ((reader, here), (there, writer))]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            here.transport.abort()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65_536):
                await self._flowing.wait()
                writer.write(data)
                await writer.drain()


@asynccontextmanager
async def cutting(server_port: int) -> AsyncIterator[Cutting]:
    """Lay such a wire for as long as the block runs."""
    wire = Cutting(server_port)
    server = await asyncio.start_server(wire.connect, "127.0.0.1", 0)
    wire.address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server:
        yield wire
        server.close()
        wire.cut()
