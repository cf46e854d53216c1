"""Owns keeping one connection up. Leaves how to dial to whoever passes `dial`, and commands to `connection`.

While there is no connection, `connection` raises at once: this is the circuit breaker. It opens when a reply is late
(the connection is dropped), probes by dialling in the background, and closes with the first good handshake.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable

from authsvc.background import end_tasks
from authsvc.core.contracts import StoreUnavailable
from authsvc.stores.valkey.connection import Connection

_log = logging.getLogger(__name__)

_FIRST_PAUSE_S = 0.02
_LONGEST_PAUSE_S = 0.5

Dial = Callable[[], Awaitable[Connection]]


class Link:
    """A connection that is dialled again whenever it is lost, with growing, jittered pauses."""

    def __init__(self, name: str, dial: Dial, on_loss: Callable[[], None] | None = None) -> None:
        """`dial` returns a connection past its handshake, or raises OSError or StoreUnavailable. `name` is for logs."""
        self._name = name
        self._dial = dial
        self._on_loss = on_loss
        self._live: Connection | None = None
        self._up = asyncio.Event()
        self._task = asyncio.create_task(self._keep_up(), name=f"cache link {name}")

    @property
    def connection(self) -> Connection:
        """The live connection. Raises StoreUnavailable at once if there is none."""
        if self._live is None:
            raise StoreUnavailable("no connection to the cache")
        return self._live

    @property
    def is_up(self) -> bool:
        """Whether there is a live connection."""
        return self._live is not None

    async def wait_up(self, timeout_s: float) -> bool:
        """Wait for a connection; whether there is one."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._up.wait()
        except TimeoutError:
            return False
        return True

    def drop(self, reason: str) -> None:
        """Give the present connection up, and dial again."""
        if self._live is not None:
            self._live.drop(reason)

    async def close(self) -> None:
        """Close for good."""
        await end_tasks([self._task])

    async def _keep_up(self) -> None:
        pause_s = _FIRST_PAUSE_S
        reason = ""
        while True:
            try:
                connection = await self._dial()
            except (OSError, StoreUnavailable) as error:
                if reason != (reason := f"{type(error).__name__}: {error}"):
                    _log.warning("cache %s cannot be reached: %s", self._name, reason)
                await asyncio.sleep(pause_s * random.uniform(0.5, 1))  # noqa: S311  jitter
                pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
                continue
            pause_s = _FIRST_PAUSE_S
            reason = await self._serve(connection)
            _log.warning("cache %s lost: %s", self._name, reason)
            if self._on_loss is not None:
                self._on_loss()

    async def _serve(self, connection: Connection) -> str:
        """Offer the connection until it is gone; return why it went."""
        _log.info("cache %s connected", self._name)
        # Taken back from within the event that closes it, so that no caller meets a dead connection.
        connection.closed.add_done_callback(self._withdraw)
        self._live = connection
        self._up.set()
        try:
            return await asyncio.shield(connection.closed)
        finally:
            connection.drop("closed")

    def _withdraw(self, _: "asyncio.Future[str]") -> None:
        self._live = None
        self._up.clear()
