"""Owns letting no more calls in while an instance stops, so that it can stop between two calls.

gRPC's own stopping cancels what has arrived and not yet begun. So an instance stops at a moment without calls; if none
comes by itself, new ones are refused, with a status that says to ask another instance, until those under way are done.
"""

import asyncio
from collections.abc import Awaitable
from typing import Any

from authsvc.core.errors import Stopping
from authsvc.rpc.call import Call
from authsvc.rpc.interceptors.handler import Handler, Method
from authsvc.rpc.metrics import CallMetrics

# Without a call in this time there is none waiting for the event loop either.
_QUIET_SECONDS = 0.005


class Doors:
    """Open until they are closed."""

    def __init__(self, metrics: CallMetrics) -> None:
        self._metrics = metrics
        self._open = True
        self._arrived = 0

    def wrap(self, handler: Handler, method: Method) -> Handler:
        """Return the handler to use instead."""

        def entered(request: Any, call: Call) -> Awaitable[Any]:
            self._arrived += 1
            if not self._open:
                raise Stopping
            return handler(request, call)

        return entered

    async def close(self, patience_ms: int, grace_ms: int) -> None:
        """Return at a moment without calls, under way or arriving; from then on none is let in.

        For `patience_ms` such a moment is waited for; then new calls are refused. After `grace_ms` more it returns in
        any case.
        """
        if not await self._quiet(patience_ms):
            self._open = False
            await self._quiet(grace_ms)
        self._open = False

    async def _quiet(self, within_ms: int) -> bool:
        clock = asyncio.get_running_loop().time
        until, arrived = clock() + within_ms / 1000, -1
        while self._metrics.under_way or arrived != self._arrived:
            if clock() >= until:
                return False
            arrived = self._arrived
            await asyncio.sleep(_QUIET_SECONDS)
        return True
