"""Real `python -m authsvc …` processes, with an environment that holds what a test gives them and nothing else."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_TIMEOUT_S = 60.0
SECRET = "0123456789abcdef0123456789abcdef"
ISSUER = "https://auth.example.com"


def environment(settings: Mapping[str, str]) -> dict[str, str]:
    """The environment of a process: a path, and settings by their names without `AUTHSVC_`."""
    return {"PATH": os.environ["PATH"]} | {f"AUTHSVC_{name}": value for name, value in settings.items()}


def run(*arguments: str, stdin: str = "", **settings: str) -> "subprocess.CompletedProcess[str]":
    """Run a command to its end."""
    return subprocess.run(
        [sys.executable, "-m", "authsvc", *arguments],
        input=stdin,
        env=environment(settings),
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_S,
        check=False,
    )


def until(condition: Callable[[], bool], within_s: float = 20.0) -> None:
    """Wait until the condition, which another process fulfils, holds; fail the test if it does not in time."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


@dataclass
class Serving:
    """A process that runs `authsvc serve`, and what it has logged so far."""

    process: "subprocess.Popen[str]"
    lines: list[str] = field(default_factory=list)
    _more: threading.Condition = field(default_factory=threading.Condition)
    _ended: bool = False

    def read(self) -> None:
        """Gather lines until the process ends; runs in a thread."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            with self._more:
                self.lines.append(line)
                self._more.notify_all()
        with self._more:
            self._ended = True
            self._more.notify_all()

    def wait_for(self, event: str) -> dict[str, Any]:
        """Return the first log line of this event, once it is there. Fails if the process ends without."""
        with self._more:
            assert self._more.wait_for(lambda: self._ended or self._find(event), _TIMEOUT_S), self.lines
            found = self._find(event)
        assert found is not None, self.lines
        return found

    def _find(self, event: str) -> dict[str, Any] | None:
        found = (json.loads(line) for line in self.lines if line.startswith("{"))
        return next((each for each in found if each["event"] == event), None)

    @property
    def address(self) -> str:
        """Where it listens, once it does."""
        return str(self.wait_for("serving")["address"])

    def terminate(self) -> int:
        """Ask it to end; return its exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(_TIMEOUT_S)


@contextmanager
def serve(*arguments: str, **settings: str) -> Iterator[Serving]:
    """Start `authsvc serve`, and end it in any case. Does not wait until it serves."""
    command = [sys.executable, "-m", "authsvc", "serve", *arguments]
    process = subprocess.Popen(
        command, env=environment(settings), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    serving = Serving(process)
    reader = threading.Thread(target=serving.read)
    reader.start()
    try:
        yield serving
    finally:
        process.kill()
        process.wait(_TIMEOUT_S)
        reader.join(_TIMEOUT_S)
        for stream in (process.stdout, process.stderr):
            assert stream is not None
            stream.close()


def settings_of(directory: Path, database_url: str, cache_url: str) -> dict[str, str]:
    """Settings of a server on a free port of loopback, its secret in `directory`."""
    secret = directory / "secret_keys"
    secret.write_text(SECRET + "\n")
    return {
        "LISTEN": "127.0.0.1:0",
        "PLAINTEXT": "true",
        "ISSUER": ISSUER,
        "DATABASE_URL": database_url,
        "CACHE_URL": cache_url,
        "SECRET_KEYS_FILE": str(secret),
        "DRAIN_DELAY": "0s",
    }


def offline(settings: Mapping[str, str]) -> dict[str, str]:
    """Of a server's settings, those that are enough for `client create --offline`."""
    return {name: settings[name] for name in ("DATABASE_URL", "SECRET_KEYS_FILE")}
