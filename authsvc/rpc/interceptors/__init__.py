"""What every call passes on its way to the servicer, outermost first. Leaves grpc.aio to the transport.

An interceptor wraps each RPC's handler once, at start; on a call there is nothing left to look up. One that has nothing
to wait for returns the next one's awaitable rather than awaiting it: that costs a call half as much as a coroutine,
twice, when it begins and when it ends. Whatever it raises reaches `Observe`, the outermost, either way.
"""

from collections.abc import Sequence

from authsvc.rpc.interceptors.authenticate import Authenticate
from authsvc.rpc.interceptors.browsers import Browsers
from authsvc.rpc.interceptors.deadline import Deadline
from authsvc.rpc.interceptors.doors import Doors
from authsvc.rpc.interceptors.errors import Errors
from authsvc.rpc.interceptors.handler import Handler, Interceptor, Method, Refused
from authsvc.rpc.interceptors.observe import Observe
from authsvc.rpc.interceptors.reach import Reach
from authsvc.rpc.interceptors.shed import Shed
from authsvc.rpc.interceptors.shield import Shield
from authsvc.rpc.interceptors.trace import Trace
from authsvc.rpc.interceptors.whereabouts import Whereabouts

__all__ = [
    "Authenticate",
    "Browsers",
    "Deadline",
    "Doors",
    "Errors",
    "Handler",
    "Interceptor",
    "Method",
    "Observe",
    "Reach",
    "Refused",
    "Shed",
    "Shield",
    "Trace",
    "Whereabouts",
    "wrapped",
]


def wrapped(handler: Handler, method: Method, stack: Sequence[Interceptor]) -> Handler:
    """Return the handler inside the stack; the first of the stack is outermost."""
    for interceptor in reversed(stack):
        handler = interceptor.wrap(handler, method)
    return handler
