"""Owns asking again for an answer that may have got lost, without wearing out whoever is asked.

An answer is asked for promptly, for 25 seconds, and given up after four times without one. An error with a reason of
the server's own is not among the four, for it has changed nothing; and an unreachable server is not asked at all.

That suits Refresh: the server gives the same successor to the same refresh token for 30 seconds, three times.
"""

from collections.abc import Callable
from typing import Any

import grpc

from authsvc_client.clock import Clock
from authsvc_client.signing_in.reasons import code_of, reason_of, retry_after_ms
from authsvc_client.signing_in.steps import Call, Pause, Reach, Steps

WINDOW_MS = 25_000
UNANSWERED_LIMIT = 4
_FIRST_PAUSE_MS = 100
_LONGEST_PAUSE_MS = 3000

_WORTH_ASKING_AGAIN = frozenset(
    {
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.UNKNOWN,
    }
)


def ask(call: Call, clock: Clock, jitter: Callable[[], float]) -> Steps[Any]:
    """Return the answer to a call that may be made again. Raises grpc.RpcError."""
    ask_until = clock() + WINDOW_MS
    pause_ms, unanswered = _FIRST_PAUSE_MS, 0
    while True:
        try:
            return (yield call)
        except grpc.RpcError as failed:
            error = failed
        unanswered += not reason_of(error)
        wait_ms = max(retry_after_ms(error) or 0, round(pause_ms * (0.5 + jitter() / 2)))
        if code_of(error) not in _WORTH_ASKING_AGAIN or unanswered == UNANSWERED_LIMIT:
            raise error
        if clock() + wait_ms >= ask_until:
            raise error
        yield Pause(wait_ms)
        pause_ms = min(2 * pause_ms, _LONGEST_PAUSE_MS)
        if not (yield Reach(max(1, ask_until - clock()))):
            raise error
