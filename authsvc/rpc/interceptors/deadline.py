"""Owns the deadline of calls that bring none (a browser's edge sends none). Those that bring one are ended by gRPC."""

import asyncio
from collections.abc import Awaitable
from typing import Any

from authsvc.core.clock import SECOND
from authsvc.rpc.call import Call
from authsvc.rpc.interceptors.handler import Handler, Method

LONGEST_MS = 60 * SECOND


class Deadline:
    """Ends a call that has no deadline, or one beyond all reason, after its row's default."""

    def wrap(self, handler: Handler, method: Method) -> Handler:
        """Return the handler to use instead."""
        if method.descriptor.server_streaming:
            return handler
        default_ms = method.row.default_ms

        async def timed(request: Any, call: Call) -> Any:
            async with asyncio.timeout(default_ms / SECOND):
                return await handler(request, call)

        def bounded(request: Any, call: Call) -> Awaitable[Any]:
            if call.wait_ms is not None and call.wait_ms <= LONGEST_MS:
                return handler(request, call)
            call.wait_ms = default_ms
            return timed(request, call)

        return bounded
