"""Owns `min_revision`: answering only from a view at least that new. Leaves getting there to core.tail."""

from collections.abc import Awaitable
from typing import Any

from authsvc.core.clock import SECOND
from authsvc.core.errors import InvalidRequest
from authsvc.core.tail import Tail
from authsvc.rpc.call import Call
from authsvc.rpc.interceptors.handler import Handler, Method

# What is left of the caller's time for saying that the revision was not reached.
_REPLY_MS = 50


class Reach:
    """Waits for the view before RPCs whose request has a `min_revision`."""

    def __init__(self, tail: Tail) -> None:
        self._tail = tail

    def wrap(self, handler: Handler, method: Method) -> Handler:
        """Return the handler to use instead."""
        if "min_revision" not in method.descriptor.input_type.fields_by_name:
            return handler

        async def waited(request: Any, call: Call) -> Any:
            if request.min_revision < 0:
                raise InvalidRequest(("min_revision", "must not be negative"))
            wait_ms = method.row.default_ms if call.wait_ms is None else call.wait_ms
            await self._tail.reach(request.min_revision, min(wait_ms, 2 * SECOND) - _REPLY_MS)
            return await handler(request, call)

        def reached(request: Any, call: Call) -> Awaitable[Any]:
            return waited(request, call) if request.min_revision else handler(request, call)

        return reached
