"""Owns what a view of very many revocations takes: memory, and the time to fill it from a snapshot of Watch.

Memory is what the process grew by, as the operating system counts it.
"""

import asyncio
import gc
import os
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from time import perf_counter, process_time

import psutil

from authsvc.core.clock import HOUR
from authsvc.core.ids import new_id
from authsvc.core.model import Subject
from authsvc.outside import wall_clock
from authsvc_client import Verifier, Watcher
from benchmarks.callers import check
from benchmarks.obeying import obey
from benchmarks.seed import AUDIENCES
from benchmarks.service import ISSUER

ENTRIES = 1_000_000
_LOAD_TIMEOUT_MS = 50_000
_INSERT = "INSERT INTO revocations (revision, subject, subject_id, expires_at) VALUES (?, ?, ?, ?)"


@dataclass(frozen=True, slots=True)
class View:
    """Follow the instance at `address` with a client key, until everything is known."""

    address: str
    key: str


@dataclass(frozen=True, slots=True)
class Viewed:
    """What that took: bytes, seconds from opening the stream, and seconds of this process's CPU."""

    size: int
    seconds: float
    cpu_seconds: float


def fill(path: Path) -> None:
    """Write ENTRIES revoked sessions into the log of an empty SQLite database; none ends within the run.

    Straight into the tables, which takes a fifth of the time that the stores would.
    """
    expires_at = wall_clock() + HOUR
    rows = (
        (revision, Subject.SESSION.value, new_id(expires_at, os.urandom), expires_at)
        for revision in range(1, ENTRIES + 1)
    )
    with closing(sqlite3.connect(path)) as database, database:
        database.executemany(_INSERT, rows)
        database.execute("UPDATE log_state SET revision = ?", (ENTRIES,))


def memory_of(pid: int) -> int:
    """Bytes that a process holds."""
    return int(psutil.Process(pid).memory_info().rss)


async def _view(order: View) -> Viewed:
    verifier = Verifier(ISSUER, AUDIENCES[0])
    before, began, spent = memory_of(os.getpid()), perf_counter(), process_time()
    async with Watcher(order.address, order.key, verifier) as watcher:
        await watcher.ready(_LOAD_TIMEOUT_MS)
        seconds, cpu_seconds = perf_counter() - began, process_time() - spent
        check(len(verifier.revocations) == ENTRIES, "Watch")
        gc.collect()
        return Viewed(memory_of(os.getpid()) - before, seconds, cpu_seconds)


def run(orders: Connection) -> None:
    """Look when told to, until the other end goes."""
    asyncio.run(obey(orders, _view))
