"""Owns what runs in a process that hashes: requests from standard input, answers to standard output, one after another.

Run as a file, with nothing of authsvc: `child.py LIBRARIES… MEMORY_KIB PASSES`. The first answer says that it
is ready. Ends when its owner does: then standard input does. Leaves who asks, and when, to `processes`.
"""

import os
import signal
import struct
import sys
from typing import Any, BinaryIO

REQUEST = struct.Struct(">II")
"""Lengths: of the hash to check a password against, 0 to make one; of the password. Both follow."""
ANSWER = struct.Struct(">BI")
"""How it ended (YES, NO, FAILED), and the length of the hash that was made, which follows."""
YES, NO, FAILED = 1, 0, 2
# After its second hash the C library keeps the memory: a flood of logins then takes no more than there is already.
_WARM_UP = 2
_NICENESS = 10


def main(arguments: list[str]) -> None:
    """Hash until nobody asks any more."""
    *libraries, memory_kib, passes = arguments
    sys.path += libraries
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # sent to a whole group: what is under way is finished
    import argon2

    hasher = argon2.PasswordHasher(int(passes), int(memory_kib), 1)
    for _ in range(_WARM_UP):
        hasher.hash(b"")
    _step_back()
    asked, told = sys.stdin.buffer, sys.stdout.buffer
    _tell(told, YES)  # ready
    while (request := asked.read(REQUEST.size)) and len(request) == REQUEST.size:
        hash_length, password_length = REQUEST.unpack(request)
        _answer(told, hasher, asked.read(hash_length).decode(), asked.read(password_length))


def _step_back() -> None:
    """Give way to everybody else, at once: what is idle to Linux (sched(7), SCHED_IDLE) leaves the CPU as soon as
    anything else wakes up. Of a lower priority alone it would first use up its slice of some milliseconds."""
    try:
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    except (AttributeError, OSError):  # not Linux, or not allowed
        os.nice(_NICENESS)


def _answer(told: BinaryIO, hasher: Any, password_hash: str, password: bytes) -> None:
    from argon2.exceptions import VerifyMismatchError

    end, made = YES, b""
    try:
        if password_hash:
            hasher.verify(password_hash, password)
        else:
            made = hasher.hash(password).encode()
    except VerifyMismatchError:
        end = NO
    except Exception:  # noqa: BLE001  its text may hold what was asked
        end = FAILED
    _tell(told, end, made)


def _tell(told: BinaryIO, end: int, made: bytes = b"") -> None:
    told.write(ANSWER.pack(end, len(made)) + made)
    told.flush()


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except BrokenPipeError:
        os._exit(0)  # its owner has gone, and nobody hears of anything any more
