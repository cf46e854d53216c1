"""Owns a crowd of subscribers of Watch, each with a connection of its own, that read and believe nothing.

They are what makes telling everyone expensive. Leaves measuring how fast it is to `revoking`.
"""

import asyncio
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import grpc.aio

from benchmarks.callers import check
from benchmarks.obeying import obey

_WATCH = "/authsvc.v1.AuthService/Watch"
_LOCAL = (("grpc.use_local_subchannel_pool", 1),)  # else all of them would share a connection
_FIRST_TIMEOUT_S = 30.0
_AT_A_TIME = 50


@dataclass(frozen=True, slots=True)
class Join:
    """Let `count` more follow the instance at `address`, with a client key."""

    address: str
    key: str
    count: int


class _Crowd:
    def __init__(self) -> None:
        self._channels: list[grpc.aio.Channel] = []
        self._reading: list[asyncio.Task[None]] = []

    async def carry_out(self, order: Join | None) -> None:
        """More join; or, told None, all leave."""
        if order is None:
            await self._leave()
            return
        for first in range(0, order.count, _AT_A_TIME):
            count = min(_AT_A_TIME, order.count - first)
            await asyncio.gather(*(self._join(order) for _ in range(count)))

    async def _join(self, order: Join) -> None:
        channel = grpc.aio.insecure_channel(order.address, _LOCAL)
        self._channels.append(channel)
        metadata = (("authorization", f"Bearer {order.key}"),)
        watch: grpc.aio.UnaryStreamMultiCallable[bytes, bytes] = channel.unary_stream(_WATCH)
        call = watch(b"", metadata=metadata)
        async with asyncio.timeout(_FIRST_TIMEOUT_S):
            check(isinstance(await call.read(), bytes), "Watch")
        self._reading.append(asyncio.create_task(_read(call)))

    async def _leave(self) -> None:
        check(not any(task.done() for task in self._reading), "a stream of Watch ended")
        for task in self._reading:
            task.cancel()
        await asyncio.gather(*self._reading, return_exceptions=True)
        await asyncio.gather(*(channel.close() for channel in self._channels))
        self._channels, self._reading = [], []


async def _read(call: Any) -> None:
    while await call.read() is not grpc.aio.EOF:
        pass


def run(orders: Connection) -> None:
    """Join and leave as told, until the other end goes."""
    asyncio.run(obey(orders, _Crowd().carry_out))
