"""Owns the process that calls: so many callers in flight for so long. Leaves what they do to `callers`.

A slice is a warm-up and then a window; CPU and answers are counted within the window only. The CPU of a process is
all its user and system time, its threads' too.
"""

import asyncio
import gc
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from time import perf_counter

import grpc.aio
import psutil

from benchmarks.callers import Call, Work, WrongAnswer
from benchmarks.samples import Sample, percentile
from benchmarks.seed import Seeded

CHANNELS = 4
_WARM_UP = 0.25


@dataclass(frozen=True, slots=True)
class Slice:
    """What to do: `work` at `address`, `in_flight` at a time, measured for `seconds`.

    `size`: tokens a call. `watched`: process ids by what their CPU is called; the server's is `cpu_us`.
    """

    work: type[Work]
    address: str
    in_flight: int
    seconds: float
    watched: Mapping[str, int]
    size: int = 1
    channels: int = CHANNELS


@dataclass(frozen=True, slots=True)
class CallFailed:
    """A call of the slice failed, or got a wrong answer; why, in words."""

    why: str


class _Load:
    """Channels, works and callers are kept from slice to slice: connections are made before anything is measured."""

    def __init__(self) -> None:
        self._channels: dict[str, list[grpc.aio.Channel]] = {}
        self._works: dict[tuple[type[Work], str], Work] = {}
        self._callers: dict[tuple[type[Work], str], list[Call]] = {}

    async def run(self, order: Slice, seeded: Seeded | None) -> Sample:
        callers = await self._get_callers(order, seeded)
        stop_at = perf_counter() + _WARM_UP * order.seconds + order.seconds
        latencies: list[float] = []
        tasks = [asyncio.create_task(_repeat(call, stop_at, latencies)) for call in callers]
        window = asyncio.create_task(_window(order, latencies))
        try:
            await asyncio.gather(*tasks)
            return await window
        finally:
            for task in (*tasks, window):
                task.cancel()

    async def _get_callers(self, order: Slice, seeded: Seeded | None) -> list[Call]:
        channels = self._channels.get(order.address) or self._open(order)
        key = (order.work, order.address)
        if key not in self._works:
            self._works[key] = order.work(seeded)
            await self._works[key].begin(channels[0])
        callers = self._callers.setdefault(key, [])
        while len(callers) < order.in_flight:
            callers.append(self._works[key].caller(channels[len(callers) % len(channels)]))
        return callers[: order.in_flight]

    def _open(self, order: Slice) -> list[grpc.aio.Channel]:
        options = (("grpc.use_local_subchannel_pool", 1),)  # else channels to one address share a connection
        opened = [grpc.aio.insecure_channel(order.address, options) for _ in range(order.channels)]
        self._channels[order.address] = opened
        return opened


async def _repeat(call: Call, stop_at: float, latencies: list[float]) -> None:
    started = perf_counter()
    while started < stop_at:
        await call()
        ended = perf_counter()
        latencies.append(ended - started)
        started = ended


async def _window(order: Slice, latencies: list[float]) -> Sample:
    await asyncio.sleep(_WARM_UP * order.seconds)
    first, started, before = len(latencies), perf_counter(), _cpu_seconds(order.watched)
    await asyncio.sleep(order.seconds)
    after, seconds = _cpu_seconds(order.watched), perf_counter() - started
    measured = latencies[first:]
    count = len(measured) * order.size or 1
    spent = {name: (after[name] - before[name]) / count * 1e6 for name in after}
    return Sample(
        cpu_us=spent.pop("cpu_us"),
        rate=count / seconds,
        p50_ms=1000 * percentile(measured, 0.5),
        p99_ms=1000 * percentile(measured, 0.99),
        more=spent,
    )


def _cpu_seconds(watched: Mapping[str, int]) -> dict[str, float]:
    processes = {name: psutil.Process(pid) for name, pid in watched.items()}
    times = {name: process.cpu_times() for name, process in processes.items()}
    own = psutil.Process().cpu_times()
    return {
        "client_us": own.user + own.system,
        **{name: time.user + time.system for name, time in times.items()},
    }


async def _obey(orders: Connection) -> None:
    load = _Load()
    while True:
        try:
            order, seeded = await asyncio.to_thread(orders.recv)
        except EOFError:
            return
        gc.collect()
        try:
            orders.send(await load.run(order, seeded))
        except (grpc.aio.AioRpcError, WrongAnswer) as error:
            orders.send(CallFailed(_in_words(error)))


def _in_words(error: grpc.aio.AioRpcError | WrongAnswer) -> str:
    if isinstance(error, grpc.aio.AioRpcError):
        return f"{error.code().name}: {error.details()}"
    return f"wrong answer: {error}"


def run(orders: Connection) -> None:
    """Take slices and give samples until the other end goes."""
    asyncio.run(_obey(orders))
