"""A PostgreSQL primary and its synchronous standby, whose link can be stalled, for tests of failovers."""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg  # type: ignore[import-untyped]
import psutil

from authsvc.stores.embedded_postgres import EmbeddedPostgres
from authsvc.stores.migrations import upgrade_to_head
from tests.faults.proxy import Wire, to_socket, wire
from tests.parts.postgres import Postgres
from tests.parts.valkey import until

_SOCKET = ".s.PGSQL.5432"
_DATABASE = "authsvc"


class Standby(EmbeddedPostgres):
    """A copy of a primary that follows it over a wire."""

    def __init__(self, primary: EmbeddedPostgres, link: Wire) -> None:
        owner = primary.directory.stat()
        self.directory = Path(tempfile.mkdtemp(prefix="authsvc-standby-"))
        os.chown(self.directory, owner.st_uid, owner.st_gid)
        self._settings = primary._settings | {
            "primary_conninfo": f"host=127.0.0.1 port={link.port} user=postgres"
        }
        self._binaries = primary._binaries
        self._process = None
        command = ["pg_basebackup", "-U", "postgres", "--checkpoint=fast", "--wal-method=stream", "--no-sync"]
        subprocess.run(
            [*command, "-h", str(primary.directory), "-D", str(self.directory)],
            executable=self._binaries / command[0],
            user=owner.st_uid,
            group=owner.st_gid,
            stderr=subprocess.DEVNULL,
            check=True,
        )
        for left in ("postmaster.pid", f"{_SOCKET}.lock"):
            (self.directory / left).unlink(missing_ok=True)
        (self.directory / "standby.signal").touch()

    async def promote(self) -> None:
        """Become the primary."""
        connection = await asyncpg.connect(self.url("postgres"))
        await connection.execute("SELECT pg_promote()")
        await connection.close()


class PostgresPair:
    """Both of them, behind a wire each; `link` is what the standby follows the primary over."""

    def __init__(self, primary: Postgres, standby: Standby, link: Wire, wires: tuple[Wire, Wire]) -> None:
        self.primary = primary
        self.standby = standby
        self.link = link
        self._wires = wires

    @property
    def url(self) -> str:
        """One address of both."""
        hosts = ",".join(f"127.0.0.1:{each.port}" for each in self._wires)
        return f"postgresql://postgres@{hosts}/{_DATABASE}"

    def kill_primary(self) -> None:
        """Kill every process of the primary at once."""
        assert self.primary._process is not None
        children = psutil.Process(self.primary._process.pid).children(recursive=True)
        self.primary._process.kill()
        for child in children:
            child.kill()
        psutil.wait_procs(children, timeout=10)
        self.primary.stop(signal.SIGKILL)

    async def fail_over(self) -> None:
        """The primary dies, the standby takes its place."""
        self.kill_primary()
        await self.standby.promote()


@asynccontextmanager
async def postgres_pair() -> AsyncIterator[PostgresPair]:
    """Run a migrated primary and a standby that has everything before the primary acknowledges it."""
    primary = Postgres({})
    primary.start()
    try:
        await primary.execute(f"CREATE DATABASE {_DATABASE}")
        await upgrade_to_head(primary.url(_DATABASE))
        async with (
            wire(to_socket(str(primary.directory / _SOCKET))) as link,
            wire(to_socket(str(primary.directory / _SOCKET))) as first,
        ):
            standby = Standby(primary, link)
            try:
                standby.start()
                async with wire(to_socket(str(standby.directory / _SOCKET))) as second:
                    await primary.execute(
                        "ALTER SYSTEM SET synchronous_standby_names = '*'", "SELECT pg_reload_conf()"
                    )
                    await until(lambda: _is_in_step(primary), within_s=20)
                    yield PostgresPair(primary, standby, link, (first, second))
            finally:
                standby.stop(signal.SIGQUIT)
                shutil.rmtree(standby.directory)
    finally:
        primary.remove()


async def _is_in_step(primary: EmbeddedPostgres) -> bool:
    connection = await asyncpg.connect(primary.url("postgres"))
    try:
        found = await connection.fetchval(
            "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'"
        )
        return bool(found)
    finally:
        await connection.close()
