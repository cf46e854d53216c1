"""Owns instances as processes of their own: started, killed, held still and started again at the same address."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import grpc
import grpc.aio

from authsvc.stores.embedded import free_port
from authsvc.v1 import admin_service_pb2, admin_service_pb2_grpc, auth_service_pb2_grpc
from tests.faults.proxy import Wire
from tests.parts.processes import environment

_ROOT = Path(__file__).parents[2]
_START_S = 60.0
Metadata = tuple[tuple[str, str], ...]
_CHANNEL = (
    ("grpc.min_reconnect_backoff_ms", 50),
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 200),
    ("grpc.use_local_subchannel_pool", 1),
)


class NotServing(Exception):
    """An instance ended, or did not serve in time. The message has the end of its log."""


class Instance:
    """One instance, behind wires of its own to SQL and to the cache."""

    def __init__(
        self,
        number: int,
        directory: Path,
        settings: Mapping[str, str],
        sql: Wire,
        cache: Wire,
        *,
        skew_ms: int = 0,
        without: str = "",
        bound_ms: int = 0,
    ) -> None:
        self.number = number
        self.sql = sql
        self.cache = cache
        self.kills = 0
        self.armed = directory / f"armed{number}"
        self.log = directory / f"instance{number}.log"
        self.address = f"127.0.0.1:{free_port()}"
        self._environment = environment({**settings, "LISTEN": self.address}) | {
            "FAULTS_ARMED": str(self.armed),
            "FAULTS_SKEW_MS": str(skew_ms),
            "FAULTS_WITHOUT": without,
            "FAULTS_BOUND_MS": str(bound_ms),
        }
        self._process: subprocess.Popen[bytes] | None = None
        self.channel = grpc.aio.insecure_channel(self.address, options=_CHANNEL)

    @property
    def auth(self) -> "auth_service_pb2_grpc.AuthServiceAsyncStub":
        """AuthService."""
        return auth_service_pb2_grpc.AuthServiceStub(self.channel)

    @property
    def admin(self) -> "admin_service_pb2_grpc.AdminServiceAsyncStub":
        """AdminService."""
        return admin_service_pb2_grpc.AdminServiceStub(self.channel)

    @property
    def is_running(self) -> bool:
        """Whether its process is there."""
        return self._process is not None and self._process.poll() is None

    def launch(self) -> None:
        """Begin to start."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.faults.launching", "serve"],
                cwd=_ROOT,
                env=self._environment,
                stdout=log,
                stderr=log,
            )

    async def start(self) -> None:
        """Start, and return once it serves. Raises NotServing."""
        seen = self.log.stat().st_size if self.log.exists() else 0
        self.launch()
        deadline = time.monotonic() + _START_S
        while not self._says("serving", seen):
            if not self.is_running or time.monotonic() > deadline:
                raise NotServing(self.log.read_text()[-2000:])
            await asyncio.sleep(0.02)

    async def serves(self, admin: Metadata, within_s: float = 10.0) -> None:
        """Return when it answers what needs SQL. Raises NotServing."""
        deadline = time.monotonic() + within_s
        while time.monotonic() < deadline:
            with suppress(grpc.aio.AioRpcError):
                request = admin_service_pb2.ListUsersRequest(page_size=1)
                await self.admin.ListUsers(request, metadata=admin, timeout=1)
                return
            await asyncio.sleep(0.05)
        raise NotServing(self.log.read_text()[-2000:])

    async def kill(self) -> None:
        """Kill -9."""
        if self._process is not None:
            self._process.kill()
            await asyncio.to_thread(self._process.wait)
            self.kills += 1
        self.armed.unlink(missing_ok=True)

    def arm(self, point: str) -> None:
        """Have it kill itself on its way past a point (see `launching`)."""
        self.armed.write_text(point)

    async def died(self, within_s: float) -> bool:
        """Whether it has ended by itself in time."""
        deadline = time.monotonic() + within_s
        while self.is_running and time.monotonic() < deadline:  # noqa: ASYNC110  another process
            await asyncio.sleep(0.01)
        self.kills += not self.is_running
        return not self.is_running

    def pause(self) -> None:
        """Hold it still: connections stay open, nothing answers."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    async def terminate(self) -> int:
        """Ask it to end; return its exit status."""
        assert self._process is not None
        self._signal(signal.SIGTERM)
        return await asyncio.to_thread(self._process.wait, _START_S)

    async def close(self) -> None:
        """End it in any case."""
        await self.kill()
        await self.channel.close()

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        os.kill(self._process.pid, number)

    def _says(self, event: str, after: int) -> bool:
        with self.log.open("rb") as log:
            log.seek(after)
            return f'"event": "{event}"'.encode() in log.read()
