"""Owns the row of workers: the same calls to `authsvc serve` with one process that answers, and with two.

The load runs on the same machine. Where that has two cores, two workers share them with the load and with Valkey, so
`speed_up` is less than two workers on free cores would give. `speed_up_at_most` is what the machine allows: all its CPU
over what a token takes of it, everything included. `speed_up_on_free_cores` is what follows from the CPU that a token
takes at the workers alone: twice as many, if none costs more.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache

import psutil

from benchmarks import callers, service
from benchmarks.load import Slice
from benchmarks.samples import Sample
from benchmarks.seed import Seeded
from benchmarks.stage import Stage

# Connections spread by chance, so there have to be many.
_CHANNELS = 32
_IN_FLIGHT = 32
_SIZE = 64


@dataclass(frozen=True, slots=True)
class Workers:
    """BatchValidateSessions of 64 at two workers, against one."""

    name: str = "workers_2"
    about: str = "BatchValidateSessions of 64 at two workers, per token"

    def measure(self, stage: Stage, seconds: float) -> Sample:
        """Start one, measure, end it; then two."""
        place, seeded = _place(stage)
        one = _measured(stage, place, seeded, 1, seconds)
        two = _measured(stage, place, seeded, 2, seconds)
        two.more.update(
            {
                "rate_of_one": one.rate,
                "cpu_us_of_one": one.cpu_us,
                "speed_up": two.rate / one.rate,
                "speed_up_at_most": _at_most(two) / one.rate,
                "speed_up_on_free_cores": 2 * one.cpu_us / two.cpu_us,
                "cores": float(os.cpu_count() or 1),
            }
        )
        return two


def _at_most(sample: Sample) -> float:
    """Tokens a second, if nothing but these processes had the machine."""
    spent = sample.cpu_us + sample.more["client_us"] + sample.more.get("valkey_us", 0.0)
    return (os.cpu_count() or 1) * 1e6 / spent


@cache
def _place(stage: Stage) -> tuple[service.Place, Seeded]:
    return stage.place("workers")


def _measured(stage: Stage, place: service.Place, seeded: Seeded, count: int, seconds: float) -> Sample:
    with _serving(stage, place, count) as (address, watched):
        order = Slice(callers.Batch64, address, _IN_FLIGHT, seconds, watched, _SIZE, _CHANNELS)
        stage.measure(order, seeded)  # connections, and the cache of this process
        sample = stage.measure(order, seeded)
    cpu_us = sum(spent for name, spent in sample.more.items() if name.startswith("worker_"))
    more = {name: spent for name, spent in sample.more.items() if not name.startswith("worker_")}
    return Sample(cpu_us, sample.rate, sample.p50_ms, sample.p99_ms, more)


@contextmanager
def _serving(stage: Stage, place: service.Place, count: int) -> Iterator[tuple[str, dict[str, int]]]:
    """Run `authsvc serve --workers` with so many; gives its address and the workers' process ids."""
    secret = stage.directory / "workers.secret"
    secret.write_bytes(place.secret)
    settings = {
        "LISTEN": "127.0.0.1:0",
        "PLAINTEXT": "true",
        "ISSUER": service.ISSUER,
        "DATABASE_URL": place.database_url,
        "CACHE_URL": place.cache_url,
        "SECRET_KEYS_FILE": str(secret),
        "DRAIN_DELAY": "0s",
        "LOG_LEVEL": "info",
    }
    environment = {"PATH": os.environ["PATH"]} | {
        f"AUTHSVC_{name}": value for name, value in settings.items()
    }
    command = [sys.executable, "-m", "authsvc", "serve", "--workers", str(count)]
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        address, workers = _wait(process, count)
        yield address, {"cpu_us": process.pid, **{f"worker_{n}": pid for n, pid in enumerate(workers)}}
    finally:
        process.terminate()
        process.stderr.close()
        process.wait(30)


def _wait(process: "subprocess.Popen[str]", count: int) -> tuple[str, list[int]]:
    """The address, and who answers there: the process itself if there is only one."""
    address, ready = "", 0
    ready_said = "serving" if count == 1 else "worker serving"
    assert process.stderr is not None
    for line in process.stderr:
        said = json.loads(line)
        address = said.get("address", address)
        ready += said["event"] == ready_said
        if ready == count and address:
            break
    children = psutil.Process(process.pid).children()
    found = [each.pid for each in children if "spawn_main" in " ".join(each.cmdline())]
    return address, found or [process.pid]
