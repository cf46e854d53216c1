"""Keeping workers alive, without what they serve: processes that end as a test tells them."""

import asyncio
import multiprocessing
import signal
import socket
import sys
import time
from collections.abc import Callable
from multiprocessing.context import SpawnProcess

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge

from authsvc.outside import monotonic_clock
from authsvc.workers import Supervisor, WorkersCannotStart, told
from authsvc.workers.summing import Summed
from authsvc.workers.supervisor import STARTS_AT_MOST

_spawning = multiprocessing.get_context("spawn")
_GRACE_MS = 500


def _end_at_once(_: socket.socket) -> None:
    sys.exit(7)


def _never_end(end: socket.socket) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    end.sendall(b'{"question": "serving", "number": 0, "given": null}\n')
    time.sleep(600)


def _spawn(life: Callable[[socket.socket], None]) -> tuple[SpawnProcess, socket.socket]:
    ours, theirs = socket.socketpair()
    process = _spawning.Process(target=life, args=(theirs,))
    process.start()
    theirs.close()
    return process, ours


async def test_workers_that_never_serve_are_given_up() -> None:
    """Of workers that crash before any has served, the server says so and ends; it does not go on for ever."""
    started = []

    def spawn(name: str) -> tuple[SpawnProcess, socket.socket]:
        started.append(name)
        return _spawn(_end_at_once)

    supervisor = Supervisor(spawn, 2, monotonic_clock)

    with pytest.raises(WorkersCannotStart, match="status 7") as failed:
        await supervisor.run(asyncio.Event(), lambda: None, _GRACE_MS)

    assert failed.value.status == 1
    assert started == ["0"] * STARTS_AT_MOST


async def test_a_worker_that_does_not_end_is_killed() -> None:
    """A worker that hears no SIGTERM does not keep the server from ending."""
    processes: list[SpawnProcess] = []

    def spawn(name: str) -> tuple[SpawnProcess, socket.socket]:
        process, end = _spawn(_never_end)
        processes.append(process)
        return process, end

    stop = asyncio.Event()

    async with asyncio.timeout(30):
        await Supervisor(spawn, 1, monotonic_clock).run(stop, stop.set, _GRACE_MS)

    assert [process.exitcode for process in processes] == [-signal.SIGKILL]


def test_totals_never_run_back() -> None:
    """What a worker counted before it ended stays in the sum; its gauges go with it."""
    summed = Summed()
    registry = CollectorRegistry()
    registry.register(summed)
    for name, count in (("0", 3), ("1", 4)):
        summed.hear(name, _counted(count))

    summed.end("1")
    summed.hear("1", _counted(1))

    assert registry.get_sample_value("calls_total", {"method": "Login"}) == 8
    assert registry.get_sample_value("waiting", {"worker": "0"}) == 3
    assert registry.get_sample_value("waiting", {"worker": "1"}) == 1
    summed.end("0")
    assert registry.get_sample_value("waiting", {"worker": "0"}) is None
    assert registry.get_sample_value("calls_total", {"method": "Login"}) == 8


def _counted(count: int) -> list[object]:
    registry = CollectorRegistry()
    Counter("calls", "Calls.", ["method"], registry=registry).labels("Login").inc(count)
    Gauge("waiting", "Calls that wait.", registry=registry).set(count)
    return told(registry)
