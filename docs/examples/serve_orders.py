"""The orders service: every call is guarded, and open streams end when their session does.

python docs/examples/serve_orders.py --dev .dev/dev.json
"""

import argparse
import asyncio
import signal
from collections import defaultdict
from collections.abc import AsyncIterator
from typing import Any

import grpc.aio

from authsvc_client import (
    Policy,
    RemoteChecks,
    Verifier,
    Watcher,
    current_principal,
    scopes,
    server_interceptor,
)
from dev_file import DevFile, read_dev_file
from orders.v1 import orders_service_pb2 as pb
from orders.v1 import orders_service_pb2_grpc

# What is not named here, nobody may call. A name that the service does not have stops it from starting.
POLICY = Policy(
    {
        "orders.v1.OrdersService/PlaceOrder": scopes("orders.write"),
        "orders.v1.OrdersService/ListOrders": scopes("orders.read"),
        "orders.v1.OrdersService/WatchOrders": scopes("orders.read"),
    }
)
Context = grpc.aio.ServicerContext[Any, Any]


class Orders(orders_service_pb2_grpc.OrdersServiceServicer):
    """Orders in memory. No method looks at a token: who calls is known before it runs."""

    def __init__(self) -> None:
        self._orders: defaultdict[str, list[pb.Order]] = defaultdict(list)
        self._placed = asyncio.Condition()

    async def PlaceOrder(self, request: pb.PlaceOrderRequest, context: Context) -> pb.PlaceOrderResponse:
        mine = self._orders[current_principal().user_id]
        async with self._placed:
            mine.append(pb.Order(number=len(mine) + 1, item=request.item))
            self._placed.notify_all()
        return pb.PlaceOrderResponse(order=mine[-1])

    async def ListOrders(self, request: pb.ListOrdersRequest, context: Context) -> pb.ListOrdersResponse:
        return pb.ListOrdersResponse(orders=self._orders[current_principal().user_id])

    async def WatchOrders(
        self, request: pb.WatchOrdersRequest, context: Context
    ) -> AsyncIterator[pb.WatchOrdersResponse]:
        mine, told = self._orders[current_principal().user_id], 0
        while True:
            for order in mine[told:]:
                told += 1
                yield pb.WatchOrdersResponse(order=order)
            async with self._placed:
                await self._placed.wait_for(lambda: len(mine) > told)  # noqa: B023  called at once


async def serve(dev: DevFile, listen: str) -> None:
    """Serve until SIGINT or SIGTERM."""
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    verifier = Verifier(dev.issuer, "orders")
    remote = RemoteChecks(dev.address, dev.client_key)
    guard = server_interceptor(verifier, POLICY, remote=remote, services=[pb])
    server = grpc.aio.server(interceptors=[guard])
    orders_service_pb2_grpc.add_OrdersServiceServicer_to_server(Orders(), server)
    port = server.add_insecure_port(listen)
    async with Watcher(dev.address, dev.client_key, verifier) as watcher:
        await watcher.ready()
        await server.start()
        print(f"orders at {listen.rpartition(':')[0]}:{port}", flush=True)
        await stopped.wait()
        await server.stop(1)
    await remote.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dev", default=".dev/dev.json", help="what `authsvc dev` wrote about itself")
    parser.add_argument("--listen", default="127.0.0.1:50060")
    given = parser.parse_args()
    asyncio.run(serve(read_dev_file(given.dev), given.listen))
