"""A command-line program that calls the orders service for a user who has logged in.

    python docs/examples/call_orders.py login
    python docs/examples/call_orders.py place "two cups of tea"
    python docs/examples/call_orders.py watch          # goes on until it is ended
    python docs/examples/call_orders.py logout         # in another terminal: ends it

The session is in a file that only its owner can read; all terminals share it.
"""

import argparse
import asyncio
import sys
from typing import TYPE_CHECKING

import grpc.aio

from authsvc_client import (
    AuthClient,
    PasswordLogin,
    RefreshTokenSource,
    SessionEnded,
    TokenFile,
    open_channel,
    reason_of,
)
from dev_file import DevFile, read_dev_file
from orders.v1 import orders_service_pb2 as pb
from orders.v1.orders_service_pb2_grpc import OrdersServiceStub

if TYPE_CHECKING:
    from orders.v1.orders_service_pb2_grpc import OrdersServiceAsyncStub


async def login(dev: DevFile, client: AuthClient, session: TokenFile) -> None:
    """Log in; the store keeps what comes back."""
    await PasswordLogin(client, dev.username, dev.password, store=session).obtain()
    print(f"logged in as {dev.username}")


async def logout(client: AuthClient, session: TokenFile) -> None:
    """End the session everywhere."""
    stored = session.read()
    if stored is not None and stored.refresh_token:
        await client.logout(stored.refresh_token)
    session.clear()
    print("logged out")


async def place(orders: "OrdersServiceAsyncStub", item: str) -> None:
    """Order something."""
    response = await orders.PlaceOrder(pb.PlaceOrderRequest(item=item))
    print(f"order {response.order.number}: {response.order.item}")


async def watch(orders: "OrdersServiceAsyncStub") -> None:
    """Print orders as they come, until the stream ends."""
    async for response in orders.WatchOrders(pb.WatchOrdersRequest()):
        print(f"order {response.order.number}: {response.order.item}", flush=True)


async def run(given: argparse.Namespace) -> int:
    """Do what was asked; return the exit status."""
    dev, session = read_dev_file(given.dev), TokenFile(given.session)
    async with AuthClient(dev.address, issuer=dev.issuer, client_key=dev.client_key) as client:
        if given.command == "login":
            await login(dev, client, session)
            return 0
        if given.command == "logout":
            await logout(client, session)
            return 0
        try:
            async with open_channel(given.orders, RefreshTokenSource(client, store=session)) as channel:
                orders = OrdersServiceStub(channel)
                await (place(orders, given.item) if given.command == "place" else watch(orders))
            return 0
        except SessionEnded as ended:
            print(f"not logged in: {ended.reason}", file=sys.stderr)
        except grpc.aio.AioRpcError as refused:
            print(f"ended: {refused.code().name} {reason_of(refused)}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("command", choices=["login", "place", "watch", "logout"])
    parser.add_argument("item", nargs="?", default="tea")
    parser.add_argument("--dev", default=".dev/dev.json", help="what `authsvc dev` wrote about itself")
    parser.add_argument("--orders", default="127.0.0.1:50060", help="where the orders service is")
    parser.add_argument("--session", default=".dev/session.json", help="where the session is kept")
    sys.exit(asyncio.run(run(parser.parse_args())))
