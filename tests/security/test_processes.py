"""What real processes show: on their streams, in `ps`, in `/proc`. Secrets come as files and are seen nowhere.

The processes are `sabotaged`: defects of every sort quote and hold secrets.
"""

import json
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import grpc
import psutil
import pytest
import typer.main

from authsvc.__main__ import _ROOMS
from authsvc.stores.embedded import EmbeddedValkey
from authsvc.v1 import auth_service_pb2 as pb
from authsvc.v1.auth_service_pb2_grpc import AuthServiceStub
from tests.parts import processes
from tests.parts.service import PASSWORD, bearer
from tests.security.a_busy_day import fresh_secret, needles, signing_key
from tests.security.sabotaged import CANARY

_WAIT_S = 60


@dataclass
class Running:
    """A process, where it writes, and what must be seen nowhere."""

    process: "subprocess.Popen[bytes]"
    output: Path
    secrets: list[str] = field(default_factory=list)

    def written(self) -> str:
        """All that it has written to its streams."""
        return self.output.read_text()

    def wait_for(self, text: str) -> None:
        """Wait until it has written this. Fails if it ends without."""
        processes.until(lambda: text in self.written() or self.process.poll() is not None, _WAIT_S)
        assert text in self.written(), self.written()

    def seen_from_outside(self) -> str:
        """Arguments and environment of it and of every process it has started, as any tool shows them."""
        family = [
            psutil.Process(self.process.pid),
            *psutil.Process(self.process.pid).children(recursive=True),
        ]
        names = [Path("/proc", str(each.pid), name) for each in family for name in ("cmdline", "environ")]
        return "\n".join(name.read_bytes().decode(errors="replace") for name in names)

    def found(self, text: str) -> list[str]:
        """The secrets that a text holds."""
        assert len(self.secrets) > 3
        return [secret for secret in (*self.secrets, CANARY) if any(each in text for each in needles(secret))]


@contextmanager
def running(directory: Path, *command: str, **settings: str) -> Iterator[Running]:
    """Run a sabotaged command, its streams in a file."""
    output = directory / "written"
    with output.open("wb") as stream:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.security.sabotaged", *command],
            env=processes.environment(settings),
            stdout=stream,
            stderr=subprocess.STDOUT,
        )
    try:
        yield Running(process, output)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@pytest.fixture
def files(tmp_path: Path, sqlite_url: str, valkey: EmbeddedValkey) -> dict[str, str]:
    """Settings with every secret in a file."""
    secrets = {
        "DATABASE_URL": sqlite_url,
        "CACHE_URL": valkey.url,
        "SECRET_KEYS": fresh_secret().decode(),
        "SIGNING_KEY": signing_key().decode(),
    }
    settings = {"LISTEN": "127.0.0.1:0", "PLAINTEXT": "true", "ISSUER": processes.ISSUER, "DRAIN_DELAY": "0s"}
    for name, text in secrets.items():
        file = tmp_path / name.lower()
        file.write_text(text)
        settings[f"{name}_FILE"] = str(file)
    return settings | {"LOG_LEVEL": "debug", "METRICS_LISTEN": ":0"}


def _secrets_in(files: dict[str, str]) -> list[str]:
    """What is secret in those files, a line or a password at a time."""
    pem = Path(files["SIGNING_KEY_FILE"]).read_text().splitlines()[1:-1]
    cache_url = Path(files["CACHE_URL_FILE"]).read_text()
    return [*pem, cache_url.partition("@")[0].rpartition(":")[2], Path(files["SECRET_KEYS_FILE"]).read_text()]


def _new_key(files: dict[str, str], *arguments: str) -> str:
    offline = {name: files[name] for name in ("DATABASE_URL_FILE", "SECRET_KEYS_FILE")}
    created = processes.run("client", "create", *arguments, "--offline", **offline)
    assert created.returncode == 0, created.stderr
    return created.stdout.strip()


def _call(address: str, login: pb.LoginRequest, key: str | None) -> list[str]:
    """Log in, well and badly, and meet the defect; return the tokens that came of it."""
    metadata = bearer(key) if key else ()
    with grpc.insecure_channel(address) as channel:
        stub = AuthServiceStub(channel)
        given = stub.Login(login, metadata=metadata, timeout=20)
        wrong = pb.LoginRequest(username=login.username, password=CANARY)
        with pytest.raises(grpc.RpcError):
            stub.Login(wrong, metadata=metadata, timeout=20)
        exchange = pb.ExchangeSessionRequest(session_token=given.session_token)
        with pytest.raises(grpc.RpcError) as broken:
            stub.ExchangeSession(exchange, metadata=metadata, timeout=20)
    told = f"{broken.value.details()} {broken.value.trailing_metadata()}"
    assert "Incident" in told
    assert CANARY not in told
    return [given.session_token, given.tokens.access_token, given.tokens.refresh_token]


def _serving_at(server: Running) -> dict[str, str]:
    lines = [json.loads(line) for line in server.written().splitlines() if line.startswith("{")]
    return next(line for line in lines if line["event"] == "serving")


@pytest.mark.parametrize("workers", [1, 2])
def test_serve(tmp_path: Path, files: dict[str, str], workers: int) -> None:
    """`serve`, alone or with workers, shows no secret, whatever breaks in it; each line that it writes is JSON.

    Guards: `logs.py:configure` with `show_locals=False`, `without_exception_texts`, `_without_text_of` (asyncio's),
    `log_what_nobody_catches`; `config.py` reads `…_FILE`; workers get their settings through a pipe.
    """
    more = ("--permission", "admin", "--audience", "orders")
    key = _new_key(files, "web", "--permission", "login", "--permission", "introspect", *more)
    created = ("user", "create", "alice", "--password-stdin")
    with running(tmp_path, "serve", "--workers", str(workers), **files) as server:
        server.secrets = [*_secrets_in(files), key, PASSWORD]
        server.wait_for('"event": "serving"')
        said = _serving_at(server)
        key_file = tmp_path / "key"
        key_file.write_text(key)
        admin = {"ADDRESS": said["address"], "PLAINTEXT": "true", "CLIENT_KEY_FILE": str(key_file)}
        assert processes.run(*created, stdin=PASSWORD, **admin).returncode == 0

        server.secrets += _call(said["address"], pb.LoginRequest(username="alice", password=PASSWORD), key)

        server.wait_for('"event": "incident"')
        server.wait_for('"event": "crashed"')
        with urllib.request.urlopen(f"http://{said['metrics']}/metrics") as response:
            metrics = response.read().decode()
        outside = server.seen_from_outside()
    written = server.written()
    assert "grpc_server_handled_total" in metrics
    assert "AUTHSVC_SECRET_KEYS_FILE" in outside
    assert server.found(metrics) == server.found(outside) == server.found(written) == []
    assert written.count("BrokenError") > 1
    assert "Task exception was never retrieved" in written
    assert "Traceback" not in written
    assert [line for line in written.splitlines() if not line.startswith("{")] == []


def test_dev(tmp_path: Path) -> None:
    """`dev`, and the Valkey it starts, show none of the secrets that it made, whatever breaks in it."""
    data = tmp_path / "dev"
    with running(tmp_path, "dev", "--data", str(data), "--no-tour", "--listen", "127.0.0.1:0") as dev:
        dev.wait_for("Serving at")
        made = json.loads((data / "dev.json").read_text())
        dev.secrets = [
            made["admin_key"],
            made["client_key"],
            made["password"],
            (data / "secret.key").read_text(),
        ]
        dev.secrets.append(made["cache_url"].partition("@")[0].rpartition(":")[2])
        login = pb.LoginRequest(username=made["username"], password=made["password"])

        dev.secrets += _call(made["address"], login, None)

        dev.wait_for("incident")
        dev.wait_for("crashed")
        outside = dev.seen_from_outside()
    written = dev.written()
    assert "valkey" in outside
    assert dev.found(outside) == dev.found(written) == []
    assert "BrokenError, raised in" in written
    assert "Traceback" not in written


def test_crash_at_the_start(tmp_path: Path, files: dict[str, str]) -> None:
    """A defect that ends the process as it starts is logged like any other, without its text, and ends it with 1.

    Guard: `logs.py:log_what_nobody_catches`.
    """
    with running(tmp_path, "--at-start", "serve", **files) as server:
        server.secrets = _secrets_in(files)
        status = server.process.wait(_WAIT_S)

    assert status == 1
    assert '"event": "crashed"' in server.written()
    assert "BrokenError" in server.written()
    assert "Traceback" not in server.written()
    assert server.found(server.written()) == []


def test_stores_that_do_not_answer(tmp_path: Path, files: dict[str, str]) -> None:
    """What a server says of a database and a cache that it cannot reach holds no password of theirs."""
    for name, scheme in (("DATABASE_URL_FILE", "postgresql"), ("CACHE_URL_FILE", "redis")):
        Path(files[name]).write_text(f"{scheme}://somebody:{CANARY}@127.0.0.1:9/0")

    with running(tmp_path, "serve", **files) as server:
        server.secrets = _secrets_in(files)
        server.wait_for("waiting for the database")
        outside = server.seen_from_outside()

    assert server.found(server.written()) == server.found(outside) == []


# Each secret, spoilt, so that its setting cannot be used.
SPOILT = {
    "DATABASE_URL": f"mysql://somebody:{CANARY}@127.0.0.1/authsvc",
    "CACHE_URL": f"memcached://:{CANARY}@127.0.0.1/0",
    "SECRET_KEYS": CANARY,
    "SIGNING_KEY": f"-----BEGIN PRIVATE KEY-----\n{CANARY}\n-----END PRIVATE KEY-----\n",
}


def test_settings_that_cannot_be_used(tmp_path: Path) -> None:
    """Each mistake is named with its setting, and never with the secret that it is in."""
    for name, text in SPOILT.items():
        (tmp_path / name).write_text(text)
    given = {f"{name}_FILE": str(tmp_path / name) for name in SPOILT}

    ended = processes.run("serve", ISSUER=processes.ISSUER, PLAINTEXT="true", **given)

    assert ended.returncode == 2
    assert [name for name in SPOILT if name not in ended.stderr] == []
    assert CANARY not in ended.stderr + ended.stdout


def _options(command: Any, path: str) -> Iterator[tuple[str, Any]]:
    for option in command.params:
        yield f"{path} {option.name}", option
    for name, inner in getattr(command, "commands", {}).items():
        yield from _options(inner, f"{path} {name}")


def test_secrets_are_no_arguments() -> None:
    """No command takes a password, token, key or code as an argument, where every user of the machine can read it."""
    rooms = {name: import_module(f"authsvc.commands.{name}").commands for name in _ROOMS}
    options = [each for name, room in rooms.items() for each in _options(typer.main.get_command(room), name)]

    sounds_secret = re.compile(r"password|token|secret|code|key$")
    taken = {
        path
        for path, option in options
        if sounds_secret.search(path.split()[-1]) and not getattr(option, "is_flag", False)
    }

    assert len(options) > 50
    assert taken <= {"key taint key"}  # the id of a key
