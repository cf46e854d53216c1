"""Owns the row of a login flood: wrong passwords from many addresses, ten times as many as can be checked.

What is measured is everybody else: validations at a steady rate, first in quiet and then during the flood, and one
user, whose account is guessed at too, who logs in again and again from a known device. The flood comes from one process
and they from another, so that neither waits for the other on the callers' side.
"""

import asyncio
import itertools
import random
import threading
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from math import nan
from multiprocessing.connection import Connection
from time import perf_counter
from typing import Any

import grpc.aio
import psutil

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
_VALIDATIONS_A_SECOND = 100.0
_VICTIMS_LOGINS_A_SECOND = 2.0
_IN_FLIGHT_TO_SEE = 8  # while it is found out how many guesses can be checked in a second
_SECONDS_TO_SEE = 2.0
_DEADLINE_S = 10.0
_LOOK_AT_MEMORY_S = 0.02
_MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Order:
    """Where, as whom, how long. `rate`: guesses a second, 0 for as many as can be checked; `logs_in`: whether the
    victim is to log in meanwhile."""

    address: str
    seeded: Seeded
    seconds: float
    rate: float = 0.0
    logs_in: bool = False


@dataclass(slots=True)
class Seen:
    """Latencies in seconds: validations, logins of the victim, logins that were shed; and how calls ended."""

    validations: list[float] = field(default_factory=list)
    logins: list[float] = field(default_factory=list)
    shed: list[float] = field(default_factory=list)
    ends: dict[str, int] = field(default_factory=dict)

    def count(self, end: str) -> None:
        """Note how a call ended."""
        self.ends[end] = self.ends.get(end, 0) + 1


class _Others:
    """Those who have nothing to do with the flood."""

    def __init__(self) -> None:
        self._stub: Any = None
        self._device_token = ""
        self._number = itertools.count()

    async def carry_out(self, order: Order) -> Seen:
        """Validate, and let the victim log in, for so long."""
        if self._stub is None:
            self._stub = auth_service_pb2_grpc.AuthServiceStub(grpc.aio.insecure_channel(order.address))
            await self._log_in(order.seeded, Seen())
        seen = Seen()
        works = [at_rate(lambda: self._validate(order.seeded, seen), _VALIDATIONS_A_SECOND, order.seconds)]
        if order.logs_in:
            works.append(
                at_rate(lambda: self._log_in(order.seeded, seen), _VICTIMS_LOGINS_A_SECOND, order.seconds)
            )
        await asyncio.gather(*works)
        return seen

    async def _validate(self, seeded: Seeded, seen: Seen) -> None:
        tokens = seeded.session_tokens
        request = pb.ValidateSessionRequest(session_token=tokens[next(self._number) % len(tokens)][0])
        began = perf_counter()
        try:
            await self._stub.ValidateSession(
                request, metadata=metadata_of(seeded, Permission.INTROSPECT), timeout=_DEADLINE_S
            )
            seen.validations.append(perf_counter() - began)
        except grpc.aio.AioRpcError as error:
            seen.count(f"validation: {error.code().name}")

    async def _log_in(self, seeded: Seeded, seen: Seen) -> None:
        request = _login(seeded.usernames[0], PASSWORD, "192.0.2.1", self._device_token)
        began = perf_counter()
        try:
            response = await self._stub.Login(
                request, metadata=metadata_of(seeded, Permission.LOGIN), timeout=_DEADLINE_S
            )
            self._device_token = response.device_token
            seen.logins.append(perf_counter() - began)
        except grpc.aio.AioRpcError as error:
            seen.count(f"the victim's login: {error.code().name}: {error.details()}")


class _Flood:
    """Those who guess: every eighth guess is at the victim."""

    def __init__(self) -> None:
        self._stubs: list[Any] = []
        self._numbers = itertools.count()

    async def carry_out(self, order: Order) -> Seen:
        """Guess, again and again."""
        if not self._stubs:
            options = (("grpc.use_local_subchannel_pool", 1),)
            channels = [grpc.aio.insecure_channel(order.address, options) for _ in range(4)]
            self._stubs = [auth_service_pb2_grpc.AuthServiceStub(channel) for channel in channels]
        seen = Seen()
        if order.rate:
            await at_rate(lambda: self._guess(order.seeded, seen), order.rate, order.seconds)
        else:
            until = perf_counter() + order.seconds
            await asyncio.gather(*(self._repeat(order.seeded, seen, until) for _ in range(_IN_FLIGHT_TO_SEE)))
        return seen

    async def _repeat(self, seeded: Seeded, seen: Seen, until: float) -> None:
        while perf_counter() < until:
            await self._guess(seeded, seen)

    async def _guess(self, seeded: Seeded, seen: Seen) -> None:
        number = next(self._numbers)
        name = seeded.usernames[0] if number % 8 == 0 else f"guessed-{number}@example.com"
        address = f"198.{18 + number // 65_536 % 2}.{number // 256 % 256}.{number % 256}"
        metadata, began = metadata_of(seeded, Permission.LOGIN), perf_counter()
        try:
            await self._stubs[number % len(self._stubs)].Login(
                _login(name, "a wrong password", address), metadata=metadata, timeout=_DEADLINE_S
            )
            seen.count("OK")
        except grpc.aio.AioRpcError as error:
            seen.count(error.code().name)
            if error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED:
                seen.shed.append(perf_counter() - began)


@dataclass(frozen=True, slots=True)
class LoginFloodRow:
    """Ten times as many wrong passwords as can be checked, and everybody else."""

    name: str = "login_flood"
    about: str = "validations during a flood of wrong passwords, ten times as many as can be checked"

    def measure(self, stage: Stage, seconds: float) -> Sample:
        """Measure ten seconds in quiet and ten of flood; a moment each, to prepare."""
        server = stage.sqlite
        assert server.seeded is not None
        lasting = SECONDS if seconds > 1 else seconds
        order = Order(server.address, server.seeded, lasting)
        quiet: Seen = stage.ask(run_others, order)
        rate = TIMES * _checked_a_second(stage)
        memory = psutil.Process(server.watched["cpu_us"])
        idle = _resident(memory)
        during = replace(order, logs_in=True)
        with ThreadPoolExecutor(2) as both, _watching(memory) as most:
            flood = both.submit(stage.ask, run_flood, replace(order, rate=rate))
            others: Seen = both.submit(stage.ask, run_others, during).result()
            guesses: Seen = flood.result()
        return _sample(lasting, quiet, others, guesses, (most[0] - idle) / _MIB)


@cache
def _checked_a_second(stage: Stage) -> float:
    """How many guesses can be checked. Found out once: after a flood all are slowed down for a while."""
    server = stage.sqlite
    assert server.seeded is not None
    seen: Seen = stage.ask(run_flood, Order(server.address, server.seeded, _SECONDS_TO_SEE))
    return seen.ends["UNAUTHENTICATED"] / _SECONDS_TO_SEE


def _sample(seconds: float, quiet: Seen, others: Seen, guesses: Seen, more_mib: float) -> Sample:
    if others.ends:
        raise RuntimeError(f"calls ended in other ways: {others.ends}")
    quiet_p99, p99 = (percentile(seen.validations, 0.99) for seen in (quiet, others))
    return Sample(
        cpu_us=nan,
        rate=len(others.validations) / seconds,
        p50_ms=1000 * percentile(others.validations, 0.5),
        p99_ms=1000 * p99,
        more={
            "quiet_p50_ms": 1000 * percentile(quiet.validations, 0.5),
            "quiet_p99_ms": 1000 * quiet_p99,
            "p99_against_quiet": p99 / quiet_p99,
            "victims_logins": float(len(others.logins)),
            "victims_p50_ms": 1000 * percentile(others.logins, 0.5),
            "max_victims_ms": 1000 * max(others.logins, default=nan),
            "guesses_a_second": sum(guesses.ends.values()) / seconds,
            "checked_a_second": guesses.ends.get("UNAUTHENTICATED", 0) / seconds,
            "shed_p50_ms": 1000 * percentile(guesses.shed, 0.5),
            "shed_p99_ms": 1000 * percentile(guesses.shed, 0.99),
            "max_more_memory_mib": more_mib,
        },
    )


def _login(username: str, password: str, ip_address: str, device_token: str = "") -> pb.LoginRequest:
    return pb.LoginRequest(
        username=username,
        password=password,
        device=resources_pb2.Device(ip_address=ip_address),
        device_token=device_token,
    )


async def at_rate(call: Callable[[], Awaitable[None]], rate: float, seconds: float) -> None:
    """Begin so many calls a second, each by chance, whether or not those before have ended; wait for the last."""
    chance, calls = random.Random(rate), set[asyncio.Future[None]]()  # noqa: S311  nothing is to be kept from anybody
    due = began = perf_counter()
    while due - began < seconds:
        due += chance.expovariate(rate)
        await asyncio.sleep(due - perf_counter())
        calls.add(asyncio.ensure_future(call()))
    await asyncio.gather(*calls)


def _resident(process: psutil.Process) -> int:
    """The memory of a process and of those that hash for it."""
    return sum(each.memory_info().rss for each in (process, *process.children()))


@contextmanager
def _watching(process: psutil.Process) -> Iterator[list[int]]:
    """Look at a process's memory for as long as the block runs; the most that it had is in the list."""
    most, over = [0], threading.Event()

    def look() -> None:
        while not over.wait(_LOOK_AT_MEMORY_S):
            most[0] = max(most[0], _resident(process))

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        yield most
    finally:
        over.set()
        watcher.join()


def run_others(orders: Connection) -> None:
    """Carry out orders until the other end goes."""
    asyncio.run(obey(orders, _Others().carry_out))


def run_flood(orders: Connection) -> None:
    """Carry out orders until the other end goes."""
    asyncio.run(obey(orders, _Flood().carry_out))
