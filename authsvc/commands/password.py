"""Owns how a new password comes in: typed twice without echo, or on standard input. Never as an argument."""

import sys
from getpass import getpass

from authsvc.commands.failure import WRONG_USE, CommandFailed


def new_password(from_stdin: bool) -> str:
    """Return the password. Raises CommandFailed."""
    if from_stdin:
        return _first_line()
    if not sys.stdin.isatty():
        raise CommandFailed(
            "type the password on a terminal, or give it on standard input with --password-stdin", WRONG_USE
        )
    password = getpass("New password: ")
    if getpass("Again: ") != password:
        raise CommandFailed("the two passwords differ; nothing was changed", WRONG_USE)
    return password


def _first_line() -> str:
    try:
        return sys.stdin.buffer.readline().decode().rstrip("\r\n")
    except UnicodeDecodeError:
        raise CommandFailed("the password on standard input is not UTF-8", WRONG_USE) from None
