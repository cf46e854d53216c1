"""How a password reaches a command: from a terminal, twice and unseen, or on standard input. Never as an argument."""

import os
import pty
import select
import subprocess
import sys
from pathlib import Path

import argon2
import psutil
import pytest

from tests.commands.conftest import Deployment
from tests.parts import processes
from tests.parts.service import PASSWORD


class _Terminal:
    """A command on a terminal of its own."""

    def __init__(self, *arguments: str, **settings: str) -> None:
        self._ours, theirs = pty.openpty()
        command = [sys.executable, "-m", "authsvc", *arguments]
        self.process = subprocess.Popen(
            command,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env=processes.environment(settings),
            start_new_session=True,
        )
        os.close(theirs)
        self.shown = ""

    def answer(self, prompt: str, text: str) -> None:
        """Wait for the prompt, then type."""
        processes.until(lambda: self._read() and self.shown.endswith(prompt))
        os.write(self._ours, text.encode() + b"\n")

    def end(self) -> int:
        """Read to the end; return the exit status."""
        processes.until(lambda: self._read() and self.process.poll() is not None)
        self._read()
        os.close(self._ours)
        return self.process.wait()

    def _read(self) -> bool:
        while select.select([self._ours], [], [], 0.05)[0]:
            try:
                self.shown += os.read(self._ours, 4096).decode()
            except OSError:  # the other side is closed
                break
        return True


def test_a_password_is_typed_twice_and_not_shown(deployment: Deployment) -> None:
    """On a terminal the password is asked for twice, shown never, and is no argument of the process."""
    terminal = _Terminal("user", "create", "alice", **deployment.admin)
    terminal.answer("New password: ", PASSWORD)
    arguments = psutil.Process(terminal.process.pid).cmdline()
    terminal.answer("Again: ", PASSWORD)

    status = terminal.end()

    assert status == 0, terminal.shown
    assert PASSWORD not in terminal.shown
    assert PASSWORD not in " ".join(arguments)


def test_two_different_passwords_change_nothing(deployment: Deployment) -> None:
    """A slip of the finger does not become somebody's password."""
    terminal = _Terminal("user", "create", "bob", **deployment.admin)
    terminal.answer("New password: ", PASSWORD)
    terminal.answer("Again: ", PASSWORD + "!")

    status = terminal.end()

    assert status == 2
    assert "the two passwords differ" in terminal.shown
    assert "bob" not in processes.run("user", "list", **deployment.admin).stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("user", "create", "carol", PASSWORD), "unexpected extra argument"),
        (("user", "create", "carol", "--password", PASSWORD), "No such option"),
        (("user", "create", "carol"), "--password-stdin"),
    ],
)
def test_a_password_is_no_argument(deployment: Deployment, arguments: tuple[str, ...], said: str) -> None:
    """A password as an argument is refused, and without a terminal the other way in is named."""
    ended = processes.run(*arguments, **deployment.admin)

    assert ended.returncode == 2
    assert said in " ".join(ended.stderr.split())


def test_a_password_keeps_its_spaces(deployment: Deployment, tmp_path: Path) -> None:
    """Of standard input only the end of the first line is taken off; spaces count."""
    ended = processes.run(
        "user", "create", "dave", "--password-stdin", stdin=" " * 14 + "\r\nrest", **deployment.admin
    )

    assert ended.returncode == 1
    assert "at least 15 characters" in ended.stderr


def test_a_hash_is_read_from_standard_input(deployment: Deployment) -> None:
    """Users are brought along with the hash of their password; one that is not acceptable is refused, not shown."""
    good = argon2.PasswordHasher().hash("a password from elsewhere")
    dear = good.replace("m=65536", "m=4194304")

    created = processes.run(
        "user", "create", "erin", "--password-hash-stdin", stdin=good + "\n", **deployment.admin
    )
    replaced = processes.run(
        "user", "set-password", "erin", "--password-hash-stdin", stdin=good + "\n", **deployment.admin
    )
    refused = processes.run(
        "user", "create", "bob", "--password-hash-stdin", stdin=dear + "\n", **deployment.admin
    )
    both = processes.run(
        "user", "create", "bob", "--password-hash-stdin", "--password-stdin", stdin=good, **deployment.admin
    )

    assert (created.returncode, replaced.returncode) == (0, 0)
    assert (refused.returncode, both.returncode) == (1, 2)
    assert "password_hash: must have m from 7168 to 65536" in refused.stderr
    assert "not both" in both.stderr
    assert dear not in refused.stdout + refused.stderr
