"""Owns finishing what was begun: an RPC that writes runs to its end even when its caller has gone.

A caller's deadline cancels the handler at whatever it awaits, which might be the commit; then nobody would know what
became of it, and what follows the commit (the view, the cache) would be left out. So writing happens in a task of its
own; the caller's going away only stops the waiting for it. What has not yet begun by then is not begun (core.patience).
"""

import asyncio
from typing import Any

from authsvc.core.patience import wait_at_most
from authsvc.rpc.call import Call
from authsvc.rpc.interceptors.handler import Handler, Method


class Shield:
    """Runs writing RPCs in tasks of their own, and knows which are under way."""

    def __init__(self) -> None:
        self._under_way: set[asyncio.Task[Any]] = set()

    def wrap(self, handler: Handler, method: Method) -> Handler:
        """Return the handler to use instead."""
        if not method.row.writes:
            return handler

        async def shielded(request: Any, call: Call) -> Any:
            wait_at_most(call.wait_ms)
            task: asyncio.Task[Any] = asyncio.ensure_future(handler(request, call))
            self._under_way.add(task)
            task.add_done_callback(self._done)
            return await asyncio.shield(task)

        return shielded

    async def drain(self) -> None:
        """Return when all that was begun has ended."""
        while self._under_way:
            await asyncio.wait(self._under_way)

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._under_way.discard(task)
        if not task.cancelled():
            task.exception()  # Seen here: whoever waited may be gone.
