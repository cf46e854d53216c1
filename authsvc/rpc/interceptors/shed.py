"""Owns refusing calls when too many are under way: at once, with a word on when to come back. Leaves which RPCs are
refused first to their policy rows."""

from collections.abc import Awaitable
from typing import Any

from authsvc.core.errors import Overloaded
from authsvc.rpc.call import Call
from authsvc.rpc.interceptors.handler import Handler, Method
from authsvc.rpc.metrics import CallMetrics
from authsvc.rpc.policy import Shedding

# How much of the limit the calls under way, of all RPCs together, may take before another is refused.
SHARES = {Shedding.FIRST: 0.8, Shedding.LAST: 1.0, Shedding.BEYOND: 1.25}


class Shed:
    """Lets calls in as long as no more than `limit` are under way, of all RPCs together, as `metrics` counts them; some
    RPCs not quite that far, and some further."""

    def __init__(self, limit: int, metrics: CallMetrics) -> None:
        self._limit = limit
        self._metrics = metrics

    def wrap(self, handler: Handler, method: Method) -> Handler:
        """Return the handler to use instead."""
        metrics, limit = self._metrics, max(1, round(self._limit * SHARES[method.row.shed]))

        def admitted(request: Any, call: Call) -> Awaitable[Any]:
            if metrics.under_way > limit:  # this call is counted already
                raise Overloaded
            return handler(request, call)

        return admitted
