"""Owns counting, timing and logging calls, and that each ends OK or refused. Leaves what a refusal is to `errors`.

Logs never hold a message, metadata or a token: only the method, the outcome, how long it took and the caller's ids.
Success of a quiet RPC is counted, not logged; its refusals are logged, but no more than some each second. So are those
of any RPC for want of room, or for asking too often: whoever floods the service must not flood its log.
"""

from time import perf_counter
from typing import Any

import structlog

from authsvc.rpc.call import Call
from authsvc.rpc.errors import Code
from authsvc.rpc.interceptors.errors import Errors
from authsvc.rpc.interceptors.handler import Handler, Method
from authsvc.rpc.metrics import CallMetrics

REFUSALS_PER_SECOND = 10
_log = structlog.get_logger("authsvc.call")


class Observe:
    """Observes every call. It is the one interceptor that is there while the call is under way."""

    def __init__(self, metrics: CallMetrics, errors: Errors) -> None:
        self._metrics = metrics
        self._errors = errors
        self._ration = _Ration(REFUSALS_PER_SECOND)

    def wrap(self, handler: Handler, method: Method) -> Handler:
        """Return the handler to use instead. It raises Refused, and no other exception but CancelledError."""
        metrics, numbers = self._metrics, self._metrics.of(method.name)
        quiet = method.row.quiet

        async def observed(request: Any, call: Call) -> Any:
            numbers.started += 1
            metrics.under_way += 1
            started = perf_counter()
            code = "CANCELLED"
            try:
                response = await handler(request, call)
                code = "OK"
            except Exception as error:  # noqa: BLE001  nothing may pass by it
                refused = self._errors.refused(error, method.name)
                code = refused.status.code.name
                metrics.refuse(method.name, refused.status.reason)
                is_rationed = quiet or refused.status.code is Code.RESOURCE_EXHAUSTED
                if not is_rationed or self._ration.allows(started):
                    self._write(method, call, code, started, refused.status.reason)
                raise refused from None
            finally:
                metrics.under_way -= 1
                numbers.end(code, perf_counter() - started)
            if not quiet:
                self._write(method, call, code, started, "")
            return response

        return observed

    def _write(self, method: Method, call: Call, code: str, started: float, reason: str) -> None:
        caller = call.caller
        said = {
            "reason": reason,
            "client_id": caller.client_id,
            "user_id": caller.user_id,
            "session_id": caller.session_id,
            "ip_address": call.ip_address,
        }
        milliseconds = round(1000 * (perf_counter() - started), 1)
        known = {name: value for name, value in said.items() if value}
        _log.info("call", method=method.name, code=code, ms=milliseconds, **known)


class _Ration:
    """Allows so many a second and no more."""

    def __init__(self, per_second: int) -> None:
        self._per_second = per_second
        self._second = 0
        self._used = 0

    def allows(self, now: float) -> bool:
        if int(now) != self._second:
            self._second, self._used = int(now), 0
        self._used += 1
        return self._used <= self._per_second
