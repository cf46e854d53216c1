"""Owns the row of overload: ten times as many logins as an instance can take, each by a user and network of its own.

Logins, because they are what an instance can take the fewest of: 2 slots do some 40 a second, and one process can well
offer ten times that, which with cheaper calls it could not.
"""

import asyncio
import itertools
from dataclasses import dataclass, field
from math import nan
from multiprocessing.connection import Connection
from time import perf_counter
from typing import Any

import grpc.aio

from authsvc.core.model import Permission
from authsvc.v1 import auth_service_pb2 as pb
from authsvc.v1 import auth_service_pb2_grpc, resources_pb2
from benchmarks.callers import metadata_of
from benchmarks.obeying import obey
from benchmarks.samples import Sample, percentile
from benchmarks.seed import PASSWORD, Seeded
from benchmarks.stage import Stage

TIMES = 10
SECONDS = 10.0
"""Of each of the three rounds."""
_PEAK_SECONDS = 4.0
_PEAK_IN_FLIGHT = 8
_TICK_S = 0.01
_DEADLINE_S = 10.0


@dataclass(frozen=True, slots=True)
class Overload:
    """Where, and as whom."""

    address: str
    seeded: Seeded
    seconds: float


@dataclass(slots=True)
class _Ends:
    """Latencies in seconds of calls that were answered, and of those refused for want of room; what else happened."""

    answered: list[float] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)
    other: list[str] = field(default_factory=list)


class _Crowd:
    def __init__(self) -> None:
        self._numbers = itertools.count()
        self._channels: list[grpc.aio.Channel] = []

    async def carry_out(self, order: Overload) -> Sample:
        """Find the peak, then offer ten times as much."""
        if not self._channels:
            options = (("grpc.use_local_subchannel_pool", 1),)
            self._channels = [grpc.aio.insecure_channel(order.address, options) for _ in range(4)]
        peak = await self._at_peak(order.seeded)
        rate = len(peak.answered) / _PEAK_SECONDS
        ends = await self._offer(order, TIMES * rate)
        if ends.other or peak.other:
            raise RuntimeError(f"calls ended in other ways: {(ends.other or peak.other)[:3]}")
        goodput, normal_p99 = len(ends.answered) / order.seconds, percentile(peak.answered, 0.99)
        return Sample(
            cpu_us=nan,
            rate=goodput,
            p50_ms=1000 * percentile(ends.answered, 0.5),
            p99_ms=1000 * percentile(ends.answered, 0.99),
            more={
                "peak_rate": rate,
                "offered_rate": (len(ends.answered) + len(ends.refused)) / order.seconds,
                "goodput_share": goodput / rate,
                "normal_p99_ms": 1000 * normal_p99,
                "p99_against_normal": percentile(ends.answered, 0.99) / normal_p99,
                "refused_p50_ms": 1000 * percentile(ends.refused, 0.5),
                "refused_p99_ms": 1000 * percentile(ends.refused, 0.99),
            },
        )

    async def _at_peak(self, seeded: Seeded) -> _Ends:
        """As much as the instance takes without refusing anything."""
        ends, until = _Ends(), perf_counter() + _PEAK_SECONDS

        async def repeat() -> None:
            while perf_counter() < until:
                await self._log_in(seeded, ends)

        await asyncio.gather(*(repeat() for _ in range(_PEAK_IN_FLIGHT)))
        return ends

    async def _offer(self, order: Overload, rate: float) -> _Ends:
        """Begin so many a second, whether or not those before have ended; what ends in time counts."""
        ends, began, calls = _Ends(), perf_counter(), set[asyncio.Task[None]]()
        offered = 0
        while (now := perf_counter() - began) < order.seconds:
            while offered < rate * now:
                calls.add(asyncio.create_task(self._log_in(order.seeded, ends)))
                offered += 1
            await asyncio.sleep(_TICK_S)
        in_time = _Ends(list(ends.answered), list(ends.refused))
        await asyncio.gather(*calls)
        in_time.other = ends.other
        return in_time

    async def _log_in(self, seeded: Seeded, ends: _Ends) -> None:
        number = next(self._numbers)
        stub: Any = auth_service_pb2_grpc.AuthServiceStub(self._channels[number % len(self._channels)])
        address = f"198.{18 + number // 65_536 % 2}.{number // 256 % 256}.{number % 256}"
        request = pb.LoginRequest(
            username=seeded.usernames[number % len(seeded.usernames)],
            password=PASSWORD,
            device=resources_pb2.Device(ip_address=address),
        )
        metadata, began = metadata_of(seeded, Permission.LOGIN), perf_counter()
        try:
            await stub.Login(request, metadata=metadata, timeout=_DEADLINE_S)
            ends.answered.append(perf_counter() - began)
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED and "busy" in (error.details() or ""):
                ends.refused.append(perf_counter() - began)
            else:
                ends.other.append(f"{error.code().name}: {error.details()}")


@dataclass(frozen=True, slots=True)
class OverloadRow:
    """Ten times as many logins as the instance can take."""

    name: str = "overload"
    about: str = "logins, ten times as many as can be taken: those that were"

    def measure(self, stage: Stage, seconds: float) -> Sample:
        """Offer them for ten seconds; a moment only, to prepare."""
        server = stage.postgres
        assert server.seeded is not None
        lasting = SECONDS if seconds > 1 else seconds
        sample: Sample = stage.ask(run, Overload(server.address, server.seeded, lasting))
        return sample


def run(orders: Connection) -> None:
    """Carry out orders until the other end goes."""
    asyncio.run(obey(orders, _Crowd().carry_out))
