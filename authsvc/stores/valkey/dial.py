"""Owns the handshake: from an address to a connection that may be used. Leaves choosing the address to `topology`.

A connection is good only if the server is a primary and has told its `run_id`; both are asked for on the very
connection that is used afterwards, so a record's generation always names the process that answers.
"""

import asyncio
from collections.abc import Callable
from typing import Any

from authsvc.core.contracts import StoreUnavailable
from authsvc.stores.valkey import scripts
from authsvc.stores.valkey.address import Address
from authsvc.stores.valkey.connection import Connection

_CONNECT_TIMEOUT_S = 1.0
MAX_PENDING = 10_000


async def dial(
    address: Address,
    timeout_s: float,
    on_error: Callable[[str], None] | None = None,
    max_pending: int = MAX_PENDING,
) -> Connection:
    """Connect, log in, and learn who answers. Raises OSError or StoreUnavailable."""
    connection = await _connect(address, lambda: Connection(timeout_s, max_pending, on_error))
    try:
        await _shake_hands(connection, address)
    except BaseException:
        connection.drop("no handshake")
        raise
    return connection


async def _connect(address: Address, protocol: Callable[[], Connection]) -> Connection:
    address.ensure_verified()
    loop = asyncio.get_running_loop()
    tls = address.tls.context() if address.tls else None
    async with asyncio.timeout(_CONNECT_TIMEOUT_S):  # TimeoutError is an OSError
        if address.path:
            _, connection = await loop.create_unix_connection(protocol, address.path)
        else:
            _, connection = await loop.create_connection(protocol, address.host, address.port, ssl=tls)
    return connection


async def _shake_hands(connection: Connection, address: Address) -> None:
    username, password = address.credentials.username, address.credentials.password
    if password:
        await connection.call("AUTH", *([username] if username else []), password)
    if address.db:
        await connection.call("SELECT", address.db)
    # Sent in one go: the script sources are the bulk of it.
    role, server, *_ = await asyncio.gather(
        connection.call("ROLE"),
        connection.call("INFO", "server"),
        *(connection.send(script.load()) for script in scripts.ALL),
    )
    if role[0] != b"master":
        raise StoreUnavailable("the cache server is not a primary")
    connection.run_id = _run_id(server)


def _run_id(info: Any) -> str:
    for line in bytes(info).decode().splitlines():
        if line.startswith("run_id:"):
            return line.removeprefix("run_id:").strip()
    raise StoreUnavailable("the cache server does not tell its run_id")
