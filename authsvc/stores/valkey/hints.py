"""Owns the pub/sub hint that the revocation log has moved. Leaves reading the log to whoever listens."""

import asyncio
import logging
from collections.abc import AsyncIterator

from redis.exceptions import RedisError

from authsvc.core.contracts import StoreUnavailable
from authsvc.stores.valkey.clients import open_client
from authsvc.stores.valkey.topology import Topology

_log = logging.getLogger(__name__)

_CHANNEL = "authsvc:log"
_PAUSE_S = 0.5
_QUIET_S = 2.0


class ValkeyHints:
    """Hints. On a cluster any node will do: it passes messages on to all others."""

    def __init__(self, topology: Topology, timeout_s: float) -> None:
        self._topology = topology
        self._timeout_s = timeout_s

    async def publish(self) -> None:
        try:
            await self._topology.connection(_CHANNEL.encode()).call("PUBLISH", _CHANNEL, "")
        except StoreUnavailable as error:
            _log.info("hint not published: %s", error)

    async def listen(self) -> AsyncIterator[None]:
        while True:
            try:
                async for _ in self._subscribe():
                    yield
            except (RedisError, OSError, StoreUnavailable) as error:
                _log.debug("not listening for hints: %s", type(error).__name__)
            await asyncio.sleep(_PAUSE_S)

    async def _subscribe(self) -> AsyncIterator[None]:
        """Yield at each message, and once at the start: hints may have passed while nobody listened.

        Ends if the server leaves a PING unanswered.
        """
        address = await self._topology.primary()
        async with open_client(address, self._timeout_s) as client, client.pubsub() as subscription:
            await subscription.subscribe(_CHANNEL)
            asked = False
            while (message := await subscription.get_message(timeout=_QUIET_S)) or not asked:
                asked = message is None
                if message is None:
                    await subscription.ping()
                elif message["type"] != "pong":
                    yield
