"""README's commands do what README says, typed as they stand there."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from authsvc.settings import Settings

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
ADDRESS = "127.0.0.1:50051"
BLOCKS = re.findall(r"```(\w*)\n(.*?)```", README, re.DOTALL)
GRPCURL = Path(sys.executable).parent / "grpcurl"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder in which `make run` is running, at a free port."""
    where = tmp_path_factory.mktemp("read me")
    command = [
        sys.executable,
        "-m",
        "authsvc",
        "dev",
        "--data",
        ".dev",
        "--no-tour",
        "--listen",
        "127.0.0.1:0",
    ]
    with subprocess.Popen(command, cwd=where, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as running:
        try:
            _await_file(where / ".dev" / "login.json", running)
            yield where
        finally:
            running.terminate()


def _await_file(path: Path, running: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + 30
    while not path.exists():
        assert running.poll() is None, "authsvc dev ended"
        assert time.monotonic() < deadline, "authsvc dev did not start"
        time.sleep(0.05)


def test_make_targets_exist() -> None:
    """Each make target that README names is there, and `make run` starts what the other tests start."""
    makefile = (ROOT / "Makefile").read_text()

    named = {
        line
        for kind, text in BLOCKS
        if kind == "sh"
        for line in text.splitlines()
        if line.startswith("make ")
    }

    assert {"make run", "make test"} <= named
    for command in named:
        assert re.search(rf"^{command.split()[1]}:", makefile, re.MULTILINE), command
    assert "-m authsvc dev --data .dev" in makefile


def test_first_calls(folder: Path) -> None:
    """The first calls, one after another, answer what README shows: the same fields, the same kinds of values."""
    transcript = [
        (kind, text) for kind, text in BLOCKS if kind in ("sh", "json", "") and not text.startswith("make ")
    ]
    commands = [text for kind, text in transcript if kind == "sh"]

    outputs = _typed(commands, folder)

    shown = [
        transcript[at + 1] if at + 1 < len(transcript) else ("sh", "")
        for at, (kind, _) in enumerate(transcript)
        if kind == "sh"
    ]
    for output, (kind, expected) in zip(outputs, shown, strict=True):
        if kind == "json":
            assert _shape(json.loads(output)) == _shape(json.loads(expected))
        elif kind == "":
            assert output == expected


def _typed(commands: list[str], folder: Path) -> list[str]:
    """Type the commands into one shell, as a person would; return what each printed."""
    address = json.loads((folder / ".dev" / "dev.json").read_text())["address"]
    mark = "=== next ==="
    script = f"\necho '{mark}'\n".join(command.replace(ADDRESS, address) for command in commands)
    environment = {**os.environ, "PATH": f"{GRPCURL.parent}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split(f"{mark}\n")


def _shape(value: Any) -> Any:
    """What kind of thing a JSON value is, whatever it says."""
    if isinstance(value, dict):
        return {name: _shape(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_shape(each) for each in value]
    return type(value)


def test_stubs_in_another_service(folder: Path) -> None:
    """The ten lines of another service run as they stand, given a cookie."""
    code = next(text for kind, text in BLOCKS if kind == "python" and "ValidateSessionRequest" in text)
    address = json.loads((folder / ".dev" / "dev.json").read_text())["address"]
    login = _typed(
        [f"grpcurl -plaintext -d @ {ADDRESS} authsvc.v1.AuthService/Login < .dev/login.json"], folder
    )[0]
    cookie = re.search(r'"(ats_[^"]+)"', login)
    assert cookie is not None

    program = f"cookie = {cookie[1]!r}\n{code.replace(ADDRESS, address)}"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)

    assert "orders.read" in done.stdout, done.stderr
    assert len(code.splitlines()) <= 12


def test_settings_are_all_there() -> None:
    """The page on settings names every setting of the server, and no other."""
    page = (ROOT / "docs" / "settings.md").read_text()
    table = set(re.findall(r"^\| `(AUTHSVC_[A-Z_]+)`", page, re.MULTILINE))

    as_settings = {name.removeprefix("AUTHSVC_").removesuffix("_FILE").lower() for name in table}

    known = {name.removesuffix("_file") for name in Settings.model_fields}
    assert as_settings == known
