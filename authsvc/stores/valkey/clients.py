"""Owns how redis-py is set up, for what is not a hot path: subscribing, and asking sentinels and clusters."""

from typing import Any

import redis.asyncio as redis
from redis.asyncio.connection import Connection, SSLConnection, UnixDomainSocketConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from authsvc.stores.valkey.address import Address

_CONNECTIONS = 2


def open_client(address: Address, timeout_s: float) -> redis.Redis:
    """Return a client of one server. It never retries by itself: redis-py sends a command up to eleven times else.

    Raises NotVerified.
    """
    address.ensure_verified()
    kind, options = _connection_kind(address)
    pool = redis.BlockingConnectionPool(
        connection_class=kind,
        max_connections=_CONNECTIONS,
        timeout=timeout_s,
        db=address.db,
        username=address.credentials.username or None,
        password=address.credentials.password or None,
        socket_timeout=timeout_s,
        socket_connect_timeout=timeout_s,
        retry=Retry(NoBackoff(), 0),
        **options,
    )
    return redis.Redis.from_pool(pool)


def _connection_kind(
    address: Address,
) -> tuple[type[Connection] | type[UnixDomainSocketConnection], dict[str, Any]]:
    """Return redis-py's class for the address, and what that class wants to know besides."""
    if address.path:
        return UnixDomainSocketConnection, {"path": address.path}
    where = {"host": address.host, "port": address.port}
    if address.tls is None:
        return Connection, where
    return SSLConnection, where | {
        "ssl_ca_certs": address.tls.ca_file,
        "ssl_cert_reqs": "required",
        "ssl_check_hostname": True,
    }
