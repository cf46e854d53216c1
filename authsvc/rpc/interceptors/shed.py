"""Owns refusing calls when too many are under way: at once, with a word on when to come back."""

from collections.abc import Awaitable
from typing import Any

from authsvc.core.errors import Overloaded
from authsvc.rpc.call import Call
from authsvc.rpc.interceptors.handler import Handler, Method
from authsvc.rpc.metrics import CallMetrics


class Shed:
    """Lets at most `limit` calls in at a time, of all RPCs together, as `metrics` counts them."""

    def __init__(self, limit: int, metrics: CallMetrics) -> None:
        self._limit = limit
        self._metrics = metrics

    def wrap(self, handler: Handler, method: Method) -> Handler:
        """Return the handler to use instead."""
        metrics, limit = self._metrics, self._limit

        def admitted(request: Any, call: Call) -> Awaitable[Any]:
            if metrics.under_way > limit:  # this call is counted already
                raise Overloaded
            return handler(request, call)

        return admitted
