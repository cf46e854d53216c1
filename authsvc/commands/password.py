"""Owns how a new password comes in: typed twice without echo, or on standard input. Never as an argument."""

import sys
from dataclasses import dataclass, field
from getpass import getpass

from authsvc.commands.failure import WRONG_USE, CommandFailed


@dataclass(frozen=True, slots=True)
class NewSecret:
    """A new password, or the hash of one."""

    password: str = field(default="", repr=False)
    password_hash: str = field(default="", repr=False)


def new_secret(password_from_stdin: bool, hash_from_stdin: bool) -> NewSecret:
    """Return one of the two. Raises CommandFailed."""
    if password_from_stdin and hash_from_stdin:
        raise CommandFailed("give --password-stdin or --password-hash-stdin, not both", WRONG_USE)
    if hash_from_stdin:
        return NewSecret(password_hash=_first_line())
    return NewSecret(password=new_password(password_from_stdin))


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
