"""Owns the stores of a deployment under test, and the ways in which they die and come back."""

import asyncio
import secrets
import signal
from contextlib import suppress
from pathlib import Path

import asyncpg  # type: ignore[import-untyped]
import psutil
import redis.asyncio as redis

from authsvc.stores.embedded import EmbeddedValkey
from tests.faults.proxy import Upstream, Wire, to_port
from tests.parts.postgres import Postgres
from tests.parts.valkey import until

_IN_STEP_S = 10.0
_DISCONNECT = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname = $1"
)


class Sql(Postgres):
    """PostgreSQL that can be killed -9 as a whole, as by a loss of power, and that others can keep busy."""

    def __init__(self) -> None:
        super().__init__({})
        self.database = ""

    @property
    def socket(self) -> str:
        """Where it listens."""
        return str(self.directory / ".s.PGSQL.5432")

    @property
    def is_running(self) -> bool:
        """Whether there is a server."""
        return self._process is not None

    def kill(self) -> None:
        """Kill every process of it at once."""
        assert self._process is not None
        family = [psutil.Process(self._process.pid)]
        family += family[0].children(recursive=True)
        for process in family:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGKILL)
        psutil.wait_procs(family[1:], timeout=10)
        self.stop(signal.SIGKILL)

    async def disconnect(self) -> None:
        """End every connection, as a failover or an impatient administrator does."""
        connection = await self._connect()
        try:
            await connection.execute(_DISCONNECT, self.database)
        finally:
            await connection.close()

    async def hold(self, table: str, seconds: float) -> None:
        """Let nobody at a table for a while, so that whoever wants to keeps a connection busy waiting."""
        connection = await self._connect()
        try:
            async with connection.transaction():
                await connection.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
                await asyncio.sleep(seconds)
        finally:
            await connection.close()

    async def _connect(self) -> asyncpg.Connection:
        return await asyncpg.connect(self.url(self.database))


class Cache:
    """A Valkey primary and its replica, whose link can be stalled; after a failover, the next pair."""

    def __init__(self, directory: Path, link: Wire) -> None:
        self._directory = directory
        self._link = link
        self._password = secrets.token_urlsafe(24)
        self._number = 0
        self.primary = self._server({"dbfilename": "dump.rdb", "repl-diskless-sync-delay": "0"})
        self.replica: EmbeddedValkey | None = None

    @property
    def upstream(self) -> Upstream:
        """Where the primary of the moment is."""
        return to_port(self.primary.port)

    def url(self, port: int) -> str:
        """The address by way of a wire at this port."""
        return f"redis://:{self._password}@127.0.0.1:{port}/0"

    async def start(self) -> None:
        """Start both."""
        await self.primary.start()
        await self._add_replica()

    async def stop(self) -> None:
        """End both."""
        for server in (self.replica, self.primary):
            if server is not None:
                await server.kill()

    async def flush(self) -> None:
        """Every key is gone."""
        async with self._client() as client:
            await client.flushall()

    async def forget_scripts(self) -> None:
        """What was taught to the server is gone."""
        async with self._client() as client:
            await client.script_flush()

    async def fill(self, full: bool = True) -> None:
        """There is no room for anything new; or there is again."""
        async with self._client() as client:
            await client.config_set("maxmemory", 1 if full else 0)

    async def back_up(self) -> None:
        """Write all of it to disk, for a later `restart` to find."""
        async with self._client() as client:
            await client.save()

    async def restart(self) -> None:
        """Kill the primary; another process answers at its address, with what was backed up last, if anything."""
        await self.primary.kill()
        await self.primary.start()
        async with self._client() as client:
            await client.replicaof("NO", "ONE")  # as it was told when it was promoted, if it was

    async def fail_over(self, stalled_for: float) -> None:
        """Promote a replica that has heard nothing for so long, and kill the primary."""
        assert self.replica is not None
        self._link.stall()
        await asyncio.sleep(stalled_for)
        await self.primary.kill()
        async with redis.Redis.from_url(self.replica.url) as client:
            await client.replicaof("NO", "ONE")
        self.primary, self.replica = self.replica, None

    async def add_replica(self) -> None:
        """Give the new primary a replica of its own."""
        self._link.heal()
        await self._add_replica()

    async def _add_replica(self) -> None:
        self._link.upstream = self.upstream
        self._link.reset()
        settings = {"replicaof": f"127.0.0.1 {self._link.port}", "repl-diskless-sync-delay": "0"}
        self.replica = self._server(settings)
        await self.replica.start()
        await until(self._in_step, _IN_STEP_S)

    async def _in_step(self) -> bool:
        assert self.replica is not None
        async with redis.Redis.from_url(self.replica.url) as client:
            return (await client.info("replication")).get("master_link_status") == "up"

    def _server(self, settings: dict[str, str]) -> EmbeddedValkey:
        self._number += 1
        directory = self._directory / f"valkey{self._number}"
        return EmbeddedValkey(directory, settings | {"masterauth": self._password}, self._password)

    def _client(self) -> "redis.Redis":
        return redis.Redis.from_url(self.primary.url)
