"""Owns how a process of a run takes orders. Leaves what they mean to whoever carries them out."""

import asyncio
from collections.abc import Awaitable, Callable
from multiprocessing.connection import Connection
from typing import Any


async def obey(orders: Connection, carry_out: Callable[[Any], Awaitable[Any]]) -> None:
    """Carry out one order after another, and send back what came of each, until the other end goes."""
    while True:
        try:
            order = await asyncio.to_thread(orders.recv)
        except EOFError:
            return
        orders.send(await carry_out(order))
