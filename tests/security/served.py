"""A server in a process of its own, as `authsvc serve` runs it, with users logged in, for attacks to be measured on."""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import grpc.aio
import psutil

from authsvc.stores.embedded import EmbeddedValkey
from authsvc.stores.migrations import upgrade_to_head
from authsvc.v1 import auth_service_pb2 as pb
from authsvc.v1.auth_service_pb2_grpc import AuthServiceStub
from tests.parts import processes
from tests.parts.service import bearer, run_service

MEGA = 2**20
_PAUSE_S = 0.005


@dataclass(frozen=True)
class Served:
    """A running server, its clients' keys, and a session token with its session's id."""

    serving: processes.Serving
    keys: dict[str, str]
    session_token: str
    session_id: str

    @property
    def port(self) -> int:
        """Where it listens, on loopback."""
        return int(self.serving.address.rpartition(":")[2])

    @property
    def process(self) -> psutil.Process:
        """The server's process."""
        return psutil.Process(self.serving.process.pid)


@contextmanager
def served(directory: Path, valkey: EmbeddedValkey) -> Iterator[Served]:
    """Run a server on SQLite in `directory`."""
    url = f"sqlite:///{directory}/authsvc.db"
    keys, session_token, session_id = asyncio.run(_seed(url, valkey.url))
    with processes.serve(**processes.settings_of(directory, url, valkey.url)) as serving:
        _ = serving.address  # it serves
        yield Served(serving, keys, session_token, session_id)


async def _seed(url: str, cache_url: str) -> tuple[dict[str, str], str, str]:
    """Make clients, a user and a session with an instance in this process: it shares secret and issuer."""
    await upgrade_to_head(url)
    async with run_service(url, cache_url) as service:
        login = await service.login()
        return service.keys, login.session_token, login.session.id


@dataclass
class Others:
    """What callers who mean well get meanwhile: seconds per call, and what went wrong."""

    seconds: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    grown_bytes: int = 0

    @property
    def slowest_s(self) -> float:
        """The slowest call."""
        return max(self.seconds)


@asynccontextmanager
async def others_call(server: Served) -> AsyncIterator[Others]:
    """Validate a session again and again, on a connection of its own, for as long as the block runs; watch memory."""
    others = Others()
    async with grpc.aio.insecure_channel(server.serving.address) as channel:
        await _call(server, channel, others)  # connected before anything begins
        before = server.process.memory_info().rss
        calling = asyncio.create_task(_go_on(server, channel, others, before))
        try:
            yield others
        finally:
            calling.cancel()
            await asyncio.wait([calling])


async def _go_on(server: Served, channel: grpc.aio.Channel, others: Others, before: int) -> None:
    process = server.process
    while True:
        await _call(server, channel, others)
        others.grown_bytes = max(others.grown_bytes, process.memory_info().rss - before)
        await asyncio.sleep(_PAUSE_S)


async def _call(server: Served, channel: grpc.aio.Channel, others: Others) -> None:
    request = pb.ValidateSessionRequest(session_token=server.session_token)
    metadata, started = bearer(server.keys["gateway"]), time.perf_counter()
    try:
        found = await AuthServiceStub(channel).ValidateSession(request, metadata=metadata, timeout=10)
        if found.session.id != server.session_id:
            others.failures.append("somebody else's session")
    except grpc.aio.AioRpcError as error:
        others.failures.append(f"{error.code().name} {error.details()}")
    others.seconds.append(time.perf_counter() - started)


async def attacked(name: str, port: int, timeout_s: float = 60) -> bytes:
    """Run an attack of `http2_attacks` to its end; return what it printed."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.security.http2_attacks", name, str(port), stdout=asyncio.subprocess.PIPE
    )
    try:
        output, _ = await asyncio.wait_for(process.communicate(), timeout_s)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0
    return output
