"""Owns `serve` with several workers: the process that owns the port, the metrics and the workers.

It answers no call and never loads gRPC. Workers are spawned, not forked: each is a whole instance of its own, with its
connections, its view of the log and its slots for passwords. Leaves keeping them alive to `authsvc.workers`, being one
to `worker`.
"""

import asyncio
import multiprocessing
import signal
import socket
from collections.abc import Iterable
from concurrent.futures import TimeoutError as TooLate
from contextlib import ExitStack, suppress
from multiprocessing.context import SpawnProcess
from typing import Any

import structlog
from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric

from authsvc import __version__
from authsvc.commands.failure import REFUSED, CommandFailed
from authsvc.commands.metrics_page import show_metrics
from authsvc.core.clock import SECOND
from authsvc.outside import monotonic_clock
from authsvc.settings import Settings
from authsvc.workers import CannotReserve, Supervisor, WorkersCannotStart, reserve

# What a worker takes to stop once it has drained: calls under way, what waits to be written, the stores.
_STOP_MS = 20 * SECOND
_METRICS_S = 3.0
_spawning = multiprocessing.get_context("spawn")
_log = structlog.get_logger("authsvc")


async def serve_with_workers(settings: Settings, count: int) -> None:
    """Run that many workers until SIGTERM or SIGINT. Raises CommandFailed."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    try:
        with ExitStack() as ports:
            given = ("listen", "mtls_listen", "http_listen")
            held = {
                name: ports.enter_context(reserve(getattr(settings, name))).address
                for name in given
                if getattr(settings, name)
            }
            await _own(_for_each(settings, held, count), count, stop)
    except (CannotReserve, WorkersCannotStart) as error:
        raise CommandFailed(str(error), getattr(error, "status", REFUSED)) from None


async def _own(settings: Settings, count: int, stop: asyncio.Event) -> None:
    supervisor = Supervisor(lambda name: _spawn(settings, name), count, monotonic_clock)
    with show_metrics(settings, _AllMetrics(supervisor)) as metrics:

        def say() -> None:
            _log.info(
                "serving",
                address=settings.listen,
                mtls_address=settings.mtls_listen or None,
                http=settings.http_listen or None,
                issuer=settings.issuer,
                metrics=metrics,
                version=__version__,
                workers=count,
            )

        await supervisor.run(stop, say, settings.drain_delay + _STOP_MS)
    _log.info("stopped")


def _for_each(settings: Settings, held: dict[str, str], count: int) -> Settings:
    """The settings of one of so many workers: the ports that are held, and its share of the cores for passwords."""
    changed: dict[str, Any] = dict(held)
    if "password_slots" not in settings.model_fields_set:
        changed["password_slots"] = max(1, settings.password_slots // count)
    return settings.model_copy(update=changed)


def _spawn(settings: Settings, name: str) -> tuple[SpawnProcess, socket.socket]:
    """Start a worker. A Ctrl-C on a terminal reaches every process there; ending workers is for their owner to do."""
    ours, theirs = socket.socketpair()
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        process = _spawning.Process(target=work, args=(settings, name, theirs), daemon=True)
        process.start()
    finally:
        signal.signal(signal.SIGINT, before)
        theirs.close()
    return process, ours


class _AllMetrics(CollectorRegistry):
    """The metrics of all workers, asked for whenever somebody looks; looking happens on a thread of its own."""

    def __init__(self, supervisor: Supervisor) -> None:
        super().__init__()
        self._supervisor = supervisor
        self._loop = asyncio.get_running_loop()

    def collect(self) -> Iterable[Metric]:
        """Return everything, as far as workers have answered."""
        with suppress(TooLate):
            asyncio.run_coroutine_threadsafe(self._supervisor.count(), self._loop).result(_METRICS_S)
        return self._supervisor.metrics.collect()


def work(settings: Settings, name: str, end: socket.socket) -> None:
    """Be a worker: the whole life of its process."""
    from authsvc.commands import worker  # late: the owner, which reads this file too, does without gRPC

    worker.run(settings, name, end)
