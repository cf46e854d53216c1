"""Owns the yardstick: a grpc.aio server that gives back what it is sent, and does nothing else at all.

Same transport options as the service, the same event loop, a handler of one line; no metadata is looked at.
"""

import asyncio
from multiprocessing.connection import Connection
from typing import Any

import grpc
import grpc.aio

from authsvc.rpc.transport import OPTIONS

METHOD = "/benchmarks.Echo/Echo"


async def _echo(request: bytes, _context: Any) -> bytes:
    return request


def handlers() -> grpc.GenericRpcHandler:
    """All that an echo is, for whoever serves one."""
    handler: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_unary_rpc_method_handler(_echo)
    return grpc.method_handlers_generic_handler("benchmarks.Echo", {"Echo": handler})


async def _serve(orders: Connection) -> None:
    server = grpc.aio.server(options=OPTIONS)
    server.add_generic_rpc_handlers((handlers(),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    orders.send(port)
    await asyncio.to_thread(orders.poll, None)
    await server.stop(0)


def run(orders: Connection) -> None:
    """Serve until the other end says or goes; first tell the port."""
    asyncio.run(_serve(orders))
