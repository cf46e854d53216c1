"""Owns refusing calls when too many are under way: at once, with a word on when to come back."""

from typing import Any

from authsvc.core.errors import Overloaded
from authsvc.rpc.call import Call
from authsvc.rpc.interceptors.handler import Handler, Method


class Shed:
    """Lets at most `limit` calls in at a time, of all RPCs together."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._under_way = 0

    def wrap(self, handler: Handler, method: Method) -> Handler:
        """Return the handler to use instead."""

        async def admitted(request: Any, call: Call) -> Any:
            if self._under_way >= self._limit:
                raise Overloaded
            self._under_way += 1
            try:
                return await handler(request, call)
            finally:
                self._under_way -= 1

        return admitted
