"""Owns the guarded echo: the yardstick's server, guarded by the client package as any service would be.

It follows authsvc and asks it about session tokens. Leaves what is called to `guarded_calls`.
"""

import asyncio
import itertools
from collections.abc import Sequence
from multiprocessing.connection import Connection

import grpc
import grpc.aio

from authsvc.core.model import Permission
from authsvc.rpc.transport import OPTIONS
from authsvc_client import Policy, RemoteChecks, Verifier, Watcher, scopes, server_interceptor
from benchmarks.callers import exchanged, metadata_of
from benchmarks.echo import METHOD, handlers
from benchmarks.seed import AUDIENCES, SCOPES, Seeded
from benchmarks.service import ISSUER


async def _serve(orders: Connection, authsvc: str, seeded: Seeded) -> None:
    key = seeded.client_keys[Permission.INTROSPECT.value]
    verifier = Verifier(ISSUER, AUDIENCES[0])
    async with Watcher(authsvc, key, verifier) as watcher:
        await watcher.ready()
        remote = RemoteChecks(authsvc, key)
        name = METHOD.removeprefix("/")
        guard = server_interceptor(
            verifier, Policy({name: scopes(*SCOPES[:1])}), remote=remote, services=[name]
        )
        server = grpc.aio.server(options=OPTIONS, interceptors=[guard])
        server.add_generic_rpc_handlers((handlers(),))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        orders.send((port, await _access_tokens(authsvc, seeded)))
        await asyncio.to_thread(orders.poll, None)
        await server.stop(0)
        await remote.close()


async def _access_tokens(authsvc: str, seeded: Seeded) -> Sequence[tuple[str, str]]:
    async with grpc.aio.insecure_channel(authsvc) as channel:
        metadata = metadata_of(seeded, Permission.INTROSPECT)
        return await exchanged(channel, metadata, itertools.cycle(seeded.session_tokens))


def run(orders: Connection, authsvc: str, seeded: Seeded) -> None:
    """Serve until the other end says or goes; first tell the port, and access tokens that open the door."""
    asyncio.run(_serve(orders, authsvc, seeded))
