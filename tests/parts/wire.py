"""A wire between a client and PostgreSQL that counts round trips and can be cut. Leaves the server to `postgres`."""

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.parts.postgres import Postgres

_SOCKET = ".s.PGSQL.5432"


class Wire:
    """A Unix socket that passes everything on to the server's, both ways."""

    def __init__(self, server: Path, directory: Path) -> None:
        self.directory = directory
        self.round_trips = 0
        self.loses_replies = False
        self._server = server
        self._connections: set[asyncio.Task[None]] = set()

    def url(self, database: str) -> str:
        """Where a database of the server is, by way of this wire."""
        return f"postgresql://postgres@/{database}?host={quote(str(self.directory), safe='')}"

    async def connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Join a client's connection to one of the server's until either ends."""
        server_reader, server_writer = await asyncio.open_unix_connection(self._server / _SOCKET)
        tasks = [
            asyncio.create_task(self._carry(reader, server_writer, from_client=True)),
            asyncio.create_task(self._carry(server_reader, writer, from_client=False)),
        ]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        for end in (writer, server_writer):
            end.close()

    async def _carry(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, from_client: bool
    ) -> None:
        """Carry one way. What a client sends before it has heard the reply to the last belongs to the same trip."""
        with suppress(ConnectionError):
            while data := await reader.read(65536):
                if not from_client and self.loses_replies:
                    return
                self.round_trips += from_client
                writer.write(data)
                await writer.drain()


@pytest.fixture
async def wire(postgres: Postgres) -> AsyncIterator[Wire]:
    """A wire to the server."""
    directory = Path(tempfile.mkdtemp(prefix="authsvc-wire-"))  # a socket's path must be short
    laid = Wire(postgres.directory, directory)
    server = await asyncio.start_unix_server(laid.connect, directory / _SOCKET)
    async with server:
        yield laid
    shutil.rmtree(directory)
