"""Owns how redis-py is set up, for what is not a hot path: subscribing, and asking sentinels and clusters."""

import redis.asyncio as redis
from redis.asyncio.connection import Connection, SSLConnection, UnixDomainSocketConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from authsvc.stores.valkey.address import Address

_CONNECTIONS = 2


def open_client(address: Address, timeout_s: float) -> redis.Redis:
    """Return a client of one server. It never retries by itself: redis-py sends a command up to eleven times else."""
    where = {"path": address.path} if address.path else {"host": address.host, "port": address.port}
    pool = redis.BlockingConnectionPool(
        connection_class=_connection_class(address),
        max_connections=_CONNECTIONS,
        timeout=timeout_s,
        db=address.db,
        username=address.credentials.username or None,
        password=address.credentials.password or None,
        socket_timeout=timeout_s,
        socket_connect_timeout=timeout_s,
        retry=Retry(NoBackoff(), 0),
        **where,
    )
    return redis.Redis.from_pool(pool)


def _connection_class(address: Address) -> type[Connection] | type[UnixDomainSocketConnection]:
    if address.path:
        return UnixDomainSocketConnection
    return SSLConnection if address.tls else Connection
