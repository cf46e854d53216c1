"""Finding one's way: help, version, and what a slip of the finger is answered with."""

import subprocess
import sys

from typer.testing import CliRunner

from authsvc.__main__ import _app
from tests.parts import processes

_HEAVY = {"grpc", "pydantic", "sqlalchemy", "google.protobuf"}


def test_help_names_every_command() -> None:
    """`authsvc --help` lists the commands and says how they end."""
    shown = processes.run("--help").stdout

    for command in (
        "dev",
        "serve",
        "migrate",
        "health",
        "user",
        "client",
        "session",
        "key",
        "explain",
        "audit",
        "secrets",
    ):
        assert f" {command} " in shown
    assert "Exit status" in shown


def test_help_loads_no_command() -> None:
    """Help is quick, because it loads none of what commands need."""
    script = (
        "import sys\nfrom authsvc.__main__ import main\nsys.argv = ['authsvc', '--help']\n"
        "try: main()\nexcept SystemExit: print(*sys.modules, file=sys.stderr)"
    )

    ended = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        env=processes.environment({}),
    )

    assert "typer" in ended.stderr.split()
    assert not _HEAVY & set(ended.stderr.split())


def test_each_command_has_help() -> None:
    """Each command explains itself."""
    for command in (
        "serve",
        "dev",
        "user",
        "client",
        "session",
        "key",
        "explain",
        "audit",
        "secrets",
        "migrate",
        "health",
    ):
        ended = CliRunner().invoke(_app, [command, "--help"], prog_name="authsvc")

        assert ended.exit_code == 0
        assert f"authsvc {command}" in ended.stdout


def test_a_misspelt_command_is_guessed() -> None:
    """Wrong use ends with status 2 and a hint."""
    ended = processes.run("usr", "list")

    assert ended.returncode == 2
    assert "Did you mean 'user'?" in ended.stderr
