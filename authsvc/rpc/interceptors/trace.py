"""Owns the span of a call: which method, how it ended, and why. Leaves collecting spans to whoever gave them.

It is part of the stack only where traces are collected.
"""

from typing import Any

from authsvc.core.spans import Spans
from authsvc.rpc.call import Call
from authsvc.rpc.errors import Code, Statuses
from authsvc.rpc.interceptors.handler import Handler, Method

# What the caller could have known, or was meant to be told, is no failure of ours.
_OURS = frozenset({Code.INTERNAL, Code.UNAVAILABLE, Code.RESOURCE_EXHAUSTED})


class Trace:
    """Gives every call a span."""

    def __init__(self, spans: Spans, statuses: Statuses) -> None:
        self._spans = spans
        self._statuses = statuses

    def wrap(self, handler: Handler, method: Method) -> Handler:
        """Return the handler to use instead."""

        async def traced(request: Any, call: Call) -> Any:
            with self._spans.call(method.name, call.metadata) as span:
                try:
                    response = await handler(request, call)
                except Exception as error:
                    status = self._statuses.of(error)
                    code = status.code if status else Code.INTERNAL
                    span.note({"rpc.grpc.status_code": code.value[0]})
                    if status is not None:
                        span.note({"authsvc.reason": status.reason})
                    if code in _OURS:
                        span.fail(status.reason if status else type(error).__name__)
                    raise
                span.note({"rpc.grpc.status_code": 0})
                if call.caller.client_id:
                    span.note({"authsvc.client_id": call.caller.client_id})
                return response

        return traced
