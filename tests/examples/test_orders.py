"""The examples do what their README says: real processes, against a real `authsvc dev`."""

import asyncio
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "docs/examples"
PATIENCE_S = 60


@asynccontextmanager
async def running(*arguments: str | Path) -> AsyncIterator[Process]:
    """A Python process, ended with SIGTERM."""
    command = [sys.executable, *map(str, arguments)]
    process = await asyncio.create_subprocess_exec(*command, stdout=PIPE, stderr=PIPE, cwd=ROOT)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
        await asyncio.wait_for(process.communicate(), PATIENCE_S)


async def line_of(process: Process) -> str:
    """The next line that the process prints."""
    assert process.stdout is not None
    line = await asyncio.wait_for(process.stdout.readline(), PATIENCE_S)
    return line.decode().strip()


async def end_of(process: Process) -> tuple[int | None, str, str]:
    """Exit status and all that is still printed, once the process has ended by itself."""
    out, err = await asyncio.wait_for(process.communicate(), PATIENCE_S)
    return process.returncode, out.decode().strip(), err.decode().strip()


@dataclass
class Shop:
    """A running orders service: the arguments that lead its caller to it."""

    arguments: tuple[str, ...]

    def calling(self, *command: str) -> AbstractAsyncContextManager[Process]:
        """The calling program with a command."""
        return running(EXAMPLES / "call_orders.py", *command, *self.arguments)

    async def call(self, *command: str) -> tuple[int | None, str, str]:
        """Run the calling program to its end."""
        async with self.calling(*command) as process:
            return await end_of(process)


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Shop]:
    """`authsvc dev` and the orders service, each a process."""
    dev, session = tmp_path / "dev.json", tmp_path / "session.json"
    authsvc = ("-m", "authsvc", "dev", "--no-tour", "--listen", "127.0.0.1:0", "--data", tmp_path)
    async with running(*authsvc) as server:
        while not (line := await line_of(server)).startswith("Serving"):
            assert server.returncode is None, line
        async with running(EXAMPLES / "serve_orders.py", "--dev", dev, "--listen", "127.0.0.1:0") as orders:
            address = (await line_of(orders)).removeprefix("orders at ")
            given = ("--dev", str(dev), "--orders", address, "--session", str(session))
            yield Shop(given)


async def test_logout_in_one_terminal_ends_the_stream_in_the_other(shop: Shop) -> None:
    """A stream goes on while its user is logged in, and ends by itself when they log out elsewhere."""
    logged_in = await shop.call("login")
    first = await shop.call("place", "tea")
    async with shop.calling("watch") as watching:
        heard = [await line_of(watching)]
        await shop.call("place", "cake")
        heard.append(await line_of(watching))

        logged_out = await shop.call("logout")

        ended = await end_of(watching)
    afterwards = await shop.call("place", "more tea")
    assert logged_in == (0, "logged in as demo", "")
    assert first == (0, "order 1: tea", "")
    assert heard == ["order 1: tea", "order 2: cake"]
    assert logged_out == (0, "logged out", "")
    assert ended == (1, "", "ended: UNAUTHENTICATED ACCESS_TOKEN_REVOKED")
    assert afterwards[0] == 1
    assert afterwards[2].startswith("not logged in")
