"""Owns what a run needs: stores, servers, the load; each in a process of its own, started when first asked for.

Ends all of it when the run ends. Leaves measuring to the rows.
"""

import asyncio
import multiprocessing
import secrets
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any, Self

from authsvc.core.model import Permission
from authsvc.stores.embedded import EmbeddedValkey
from authsvc.stores.embedded_postgres import EmbeddedPostgres
from benchmarks import echo, edge, guarded, load, seed, service
from benchmarks.samples import Sample
from benchmarks.seed import Seeded

_START_TIMEOUT_S = 60.0
_STOP_TIMEOUT_S = 15.0
# fork would copy a process full of gRPC threads.
_processes = multiprocessing.get_context("spawn")


class Failed(Exception):
    """A call failed, or a process of the run ended before its time. The message says what is known."""


@dataclass(frozen=True, slots=True)
class Server:
    """A server under measurement. `watched`: its process id as `cpu_us`, and those of its stores by other names."""

    address: str
    watched: dict[str, int]
    seeded: Seeded | None = None


class Stage:
    """The processes of one run. Use as a context manager."""

    def __init__(self) -> None:
        self._exits = ExitStack()
        self.directory = Path(self._exits.enter_context(tempfile.TemporaryDirectory(prefix="authsvc-bench-")))
        self._secret = secrets.token_hex(32).encode()
        self._asked: dict[Callable[..., None], Connection] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._exits.close()

    def server(self, name: str) -> Server:
        """The server called `echo`, `guarded`, `sqlite` or `postgres`."""
        found: Server = getattr(self, name)
        return found

    def measure(self, order: load.Slice, seeded: Seeded | None) -> Sample:
        """Let the load take a slice. Raises Failed if a call did."""
        self._load.send((order, seeded))
        found: Sample | load.CallFailed = _received(self._load)
        if isinstance(found, load.CallFailed):
            raise Failed(f"{order.work.__name__}: {found.why}\n{self._last_logged()}")
        return found

    def ask(self, run: Callable[[Connection], None], order: Any) -> Any:
        """Have a process carry out an order and return what came of it. Raises Failed."""
        if run not in self._asked:
            self._asked[run] = self._spawn(run)[1]
        self._asked[run].send(order)
        return _received(self._asked[run])

    @cached_property
    def echo(self) -> Server:
        """The yardstick."""
        process, orders = self._spawn(echo.run)
        return Server(f"127.0.0.1:{_received(orders)}", {"cpu_us": _pid(process)})

    @cached_property
    def guarded(self) -> Server:
        """The echo of a service that guards it, and asks `sqlite` where it has to."""
        authsvc = self.sqlite
        process, orders = self._spawn(guarded.run, authsvc.address, authsvc.seeded)
        port, access_tokens = _received(orders)
        assert authsvc.seeded is not None
        seeded = replace(authsvc.seeded, access_tokens=access_tokens)
        return Server(f"127.0.0.1:{port}", {"cpu_us": _pid(process)}, seeded)

    @cached_property
    def sqlite(self) -> Server:
        """authsvc on SQLite."""
        return self._service(f"sqlite:///{self.directory / 'authsvc.db'}", "sqlite")

    @cached_property
    def postgres(self) -> Server:
        """authsvc on PostgreSQL, which waits for the disk at every commit."""
        database = EmbeddedPostgres()
        self._exits.callback(database.remove)
        database.start()
        return self._service(database.url("postgres"), "postgres")

    @cached_property
    def followed(self) -> Server:
        """An instance of its own on SQLite, for those who subscribe by the thousand."""
        return self._service(f"sqlite:///{self.directory / 'followed.db'}", "followed")

    @cached_property
    def edge(self) -> Server:
        """Envoy before the echo, which asks `sqlite` about each call."""
        return self._edge(asks=True)

    @cached_property
    def edge_unasked(self) -> Server:
        """The same, and nobody is asked."""
        return self._edge(asks=False)

    def _edge(self, asks: bool) -> Server:
        authsvc = self.sqlite
        assert authsvc.seeded is not None
        key = authsvc.seeded.client_keys[Permission.INTROSPECT.value]
        try:
            envoy, port = edge.start(self.directory, authsvc.address, self.echo.address, key, asks)
        except RuntimeError as error:
            raise Failed(str(error)) from None
        self._exits.callback(_terminate, envoy)
        watched = {"cpu_us": authsvc.watched["cpu_us"], "envoy_us": envoy.pid}
        return Server(f"127.0.0.1:{port}", watched, authsvc.seeded)

    def place(self, name: str) -> tuple[service.Place, Seeded]:
        """A place on SQLite for an instance that does not run yet, and what its database holds."""
        return self._place(f"sqlite:///{self.directory / name}.db", self._valkey(name), name)

    @contextmanager
    def instance(self, place: service.Place, seeded: Seeded) -> Iterator[Server]:
        """An instance for as long as the block runs."""
        process, orders = self._spawn(service.run, place)
        try:
            yield Server(f"127.0.0.1:{_received(orders)}", {"cpu_us": _pid(process)}, seeded)
        finally:
            _end(process, orders)

    def _place(self, database_url: str, valkey: EmbeddedValkey, name: str) -> tuple[service.Place, Seeded]:
        place = service.Place(database_url, valkey.url, self._secret, self.directory / f"{name}.log")
        return place, asyncio.run(seed.seed(service.settings_for(place)))

    def _last_logged(self) -> str:
        """The newest lines that the services have logged."""
        lines = [line for log in self.directory.glob("*.log") for line in log.read_text().splitlines()]
        return "\n".join(line for line in lines if '"method"' not in line)[-2000:]

    def _service(self, database_url: str, name: str) -> Server:
        valkey = self._valkey(name)
        place, seeded = self._place(database_url, valkey, name)
        process, orders = self._spawn(service.run, place)
        watched = {"cpu_us": _pid(process), "valkey_us": valkey.pid}
        return Server(f"127.0.0.1:{_received(orders)}", watched, seeded)

    def _valkey(self, name: str) -> EmbeddedValkey:
        valkey = EmbeddedValkey(self.directory / f"valkey-{name}")
        asyncio.run(valkey.start())
        self._exits.callback(lambda: asyncio.run(valkey.stop()))
        return valkey

    @cached_property
    def _load(self) -> Connection:
        return self._spawn(load.run)[1]

    def _spawn(self, run: Callable[..., None], *arguments: Any) -> tuple[SpawnProcess, Connection]:
        ours, theirs = _processes.Pipe()
        process = _processes.Process(target=run, args=(theirs, *arguments), daemon=True)
        process.start()
        theirs.close()
        self._exits.callback(_end, process, ours)
        return process, ours


def _end(process: SpawnProcess, orders: Connection) -> None:
    """Closing the pipe asks the process to end; it is made to if it does not."""
    orders.close()
    process.join(_STOP_TIMEOUT_S)
    if process.is_alive():
        process.kill()
        process.join()


def _terminate(running: "subprocess.Popen[bytes]") -> None:
    running.terminate()
    running.wait(_STOP_TIMEOUT_S)


def _received(orders: Connection) -> Any:
    try:
        if orders.poll(_START_TIMEOUT_S):
            return orders.recv()
    except EOFError:
        raise Failed("a process of the run ended") from None
    raise Failed("a process of the run does not answer")


def _pid(process: SpawnProcess) -> int:
    assert process.pid is not None
    return process.pid
