"""Owns what is done to an instance from within, for tests alone: it starts as `authsvc` does, patches loaded first.

    FAULTS_ARMED     a file; when it names a point, the process kills itself with SIGKILL on its way past it
    FAULTS_SKEW_MS   how far its time of day is off
    FAULTS_BOUND_MS  how old a view, and a signature on the roll, may be: shorter than in service, as tests wait for it
    FAULTS_WITHOUT   guards to leave out, so that the harness can be seen to see: see `unguarded`

Points are `<rpc> <place>`: an RPC that writes, and one of `before commit`, `after commit`, `before cache`, `before
reply`. Run as `python -m tests.faults.launching serve`.
"""

import ctypes
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from authsvc.core.model import AuditEvent
from authsvc.stores.sql.compiled import NO_VALUES

PLACES = ("before commit", "after commit", "before cache", "before reply")
RPCS = ("Login", "Refresh", "Revoke")
_PR_SET_PDEATHSIG = 1
# Of the changes that are one statement, those that make an RPC what it is.
_CHANGES = frozenset({"session.created", "token.rotated"})

_rpc: ContextVar[str] = ContextVar("rpc", default="")


def die_with_parent() -> None:
    """Ask Linux to end this process when the one that started it ends."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def install_points(armed: Path) -> None:
    """Put the points into the instance's way."""
    from authsvc.rpc.auth_servicer import AuthServicer
    from authsvc.stores.sql.postgresql import PostgresDatabase
    from authsvc.stores.valkey.sessions import ValkeySessions

    def pass_by(place: str) -> None:
        try:
            wanted = armed.read_text()
        except OSError:
            return
        if wanted == f"{_rpc.get()} {place}":
            armed.unlink()
            os.kill(os.getpid(), signal.SIGKILL)

    for rpc in RPCS:
        setattr(AuthServicer, rpc, _named(rpc, getattr(AuthServicer, rpc), pass_by))
    PostgresDatabase.change = _around(PostgresDatabase.change, pass_by)  # type: ignore[method-assign]
    PostgresDatabase.write = _transaction(PostgresDatabase.write, pass_by)  # type: ignore[method-assign]
    for name in ("add", "end"):
        setattr(ValkeySessions, name, _before(getattr(ValkeySessions, name), pass_by))


PassBy = Callable[[str], None]


def _named(rpc: str, inner: Any, pass_by: PassBy) -> Any:
    async def servicer(self: Any, request: Any, call: Any) -> Any:
        _rpc.set(rpc)
        response = await inner(self, request, call)
        pass_by("before reply")
        return response

    return servicer


def _around(inner: Any, pass_by: PassBy) -> Any:
    from authsvc.stores.sql import rotations

    async def change(
        self: Any, statement: Any, values: Any = NO_VALUES, event: AuditEvent | None = None
    ) -> Any:
        if statement is not rotations.ROTATE_EACH and (event is None or event.event not in _CHANGES):
            return await inner(self, statement, values, event)
        pass_by("before commit")
        rows = await inner(self, statement, values, event)
        pass_by("after commit")
        return rows

    return change


def _transaction(inner: Any, pass_by: PassBy) -> Any:
    @asynccontextmanager
    async def write(*args: Any, **named: Any) -> AsyncIterator[Any]:
        async with inner(*args, **named) as transaction:
            yield transaction
            pass_by("before commit")
        pass_by("after commit")

    return write


def _before(inner: Any, pass_by: PassBy) -> Any:
    async def tell(*args: Any, **named: Any) -> Any:
        pass_by("before cache")
        return await inner(*args, **named)

    return tell


def skew_clock(milliseconds: int) -> None:
    """Let the time of day be off. Everything takes its clock from `Outside`, so that is where."""
    from authsvc import outside

    real = outside.wall_clock
    outside.Outside.__init__.__defaults__ = (
        lambda: real() + milliseconds,
        *(outside.Outside.__init__.__defaults__ or ())[1:],
    )


def shorten_bounds(milliseconds: int) -> None:
    """Let what is old be old sooner."""
    from authsvc.core import roll, tail, validate

    for module, name in ((tail, "VIEW_BOUND_MS"), (validate, "VIEW_BOUND_MS"), (validate, "PAUSE")):
        setattr(module, name, milliseconds)
    roll.SIGNED_FOR_MS = milliseconds
    roll.SIGN_EVERY_SECONDS = milliseconds / 5000


def main() -> None:
    """Load what the environment asks for, then be `authsvc`."""
    die_with_parent()
    if armed := os.environ.get("FAULTS_ARMED"):
        install_points(Path(armed))
    if skew := int(os.environ.get("FAULTS_SKEW_MS", "0")):
        skew_clock(skew)
    if bound := int(os.environ.get("FAULTS_BOUND_MS", "0")):
        shorten_bounds(bound)
    if without := os.environ.get("FAULTS_WITHOUT"):
        from tests.faults.unguarded import GUARDS

        for guard in without.split(","):
            GUARDS[guard]()
    from authsvc.__main__ import main as authsvc

    authsvc()


if __name__ == "__main__":
    main()
