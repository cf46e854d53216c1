"""Owns the workers' lives: started, started anew when they crash, ended together. Leaves what they do to `Spawn`.

The first is started alone: what keeps it from starting keeps the others from it too, and is then said once. A worker
that ends later is replaced, at first at once and then after growing pauses.
"""

import asyncio
import itertools
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.context import SpawnProcess
from socket import socket

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge

from authsvc.background import end_tasks
from authsvc.core.clock import SECOND, Clock
from authsvc.workers.summing import Summed, Told, page
from authsvc.workers.worker import Worker

Spawn = Callable[[str], tuple[SpawnProcess, socket]]
"""Starts the worker of a name; returns its process and our end of the line to it."""

FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 30.0
STARTS_AT_MOST = 5
# A worker that ran for so long had no trouble starting; what ended it is something new.
_SETTLED_MS = 30 * SECOND
_KILLED_S = 5.0
_log = structlog.get_logger("authsvc.workers")


class WorkersCannotStart(Exception):
    """No worker has ever got as far as serving. The message says why; `status` is the exit status of the worker."""

    def __init__(self, sentence: str, status: int) -> None:
        super().__init__(sentence)
        self.status = status


class Supervisor:
    """Keeps `count` workers. It is their `Owner`."""

    def __init__(self, spawn: Spawn, count: int, monotonic: Clock) -> None:
        self._spawn = spawn
        self._count = count
        self._monotonic = monotonic
        self._workers: dict[str, Worker] = {}
        self._stopping = asyncio.Event()
        self._served = asyncio.Event()
        self._summed = Summed()
        self.metrics = CollectorRegistry()
        self.metrics.register(self._summed)
        Gauge("authsvc_workers", "Workers that serve.", registry=self.metrics).set_function(self._serving)
        self._restarts = Counter(
            "authsvc_worker_restarts", "Workers that ended and were started anew.", registry=self.metrics
        )

    async def run(self, stop: asyncio.Event, on_first: Callable[[], None], grace_ms: int) -> None:
        """Keep the workers until `stop`, then end them; one that has not ended after `grace_ms` is killed.

        `on_first` is called when the first one serves. Raises WorkersCannotStart.
        """
        stopped, served = asyncio.create_task(stop.wait()), asyncio.create_task(self._served.wait())
        keeping = [asyncio.create_task(self._keep("0"))]
        try:
            await asyncio.wait({*keeping, stopped, served}, return_when=asyncio.FIRST_COMPLETED)
            if self._served.is_set():
                on_first()
                keeping += [asyncio.create_task(self._keep(str(name))) for name in range(1, self._count)]
            await asyncio.wait({*keeping, stopped}, return_when=asyncio.FIRST_COMPLETED)
            for each in keeping:
                if each.done():
                    each.result()
        finally:
            await end_tasks([stopped, served])
            await self._end(keeping, grace_ms)

    async def count(self) -> None:
        """Bring `metrics` up to date: ask every worker."""
        await asyncio.gather(*(worker.count() for worker in self._workers.values()))

    async def page(self) -> bytes:
        """Return one page of metrics for all workers."""
        await self.count()
        return page(self.metrics)

    def served(self) -> None:
        """A worker serves."""
        self._served.set()

    def counted(self, worker: str, metrics: Told) -> None:
        """A worker says how far it has counted."""
        self._summed.hear(worker, metrics)

    async def _keep(self, name: str) -> None:
        """Run the worker of this name again and again. Raises WorkersCannotStart."""
        pause_s = FIRST_PAUSE_S
        for starts in itertools.count(1):
            started_at = self._monotonic()
            worker, status = await self._run(name)
            if self._stopping.is_set():
                return
            self._check(worker, status, starts)
            if self._monotonic() - started_at > _SETTLED_MS:
                pause_s = FIRST_PAUSE_S
            said = worker.refusal[0] if worker.refusal else ""
            _log.error("a worker ended", worker=name, status=status, said=said, again_in_s=pause_s)
            if await self._stops_within(pause_s):
                return
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
            self._restarts.inc()

    async def _run(self, name: str) -> tuple[Worker, int]:
        """Run the worker of this name once; return it with its exit status."""
        worker = self._workers[name] = Worker(name, *self._spawn(name), self)
        try:
            return worker, await worker.run()
        finally:
            del self._workers[name]
            self._summed.end(name)

    def _check(self, worker: Worker, status: int, starts: int) -> None:
        """Raises WorkersCannotStart if going on makes no sense."""
        if self._served.is_set():
            return
        if worker.refusal is not None:
            raise WorkersCannotStart(*worker.refusal)
        if starts >= STARTS_AT_MOST:
            said = f"no worker can start: {starts} ended before they served, the last with status {status}"
            raise WorkersCannotStart(said, 1)

    async def _stops_within(self, seconds: float) -> bool:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                return await self._stopping.wait()
        return False

    async def _end(self, keeping: "list[asyncio.Task[None]]", grace_ms: int) -> None:
        self._stopping.set()
        for worker in self._workers.values():
            worker.terminate()
        _, late = await asyncio.wait(keeping, timeout=grace_ms / SECOND)
        if late:
            for worker in list(self._workers.values()):
                _log.error("a worker does not end: killed", worker=worker.name)
                worker.kill()
            await asyncio.wait(late, timeout=_KILLED_S)
        await end_tasks(keeping)

    def _serving(self) -> float:
        return float(sum(worker.serves for worker in self._workers.values()))
