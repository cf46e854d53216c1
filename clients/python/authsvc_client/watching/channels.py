"""Owns opening channels to authsvc for watchers. Leaves what travels over them to the watchers.

A credential never goes over plaintext to another host unless the caller says so.
"""

from collections.abc import Callable, Sequence
from ipaddress import ip_address
from typing import Any, Final

import grpc
import grpc.aio

from authsvc_client.service_config import CHANNEL_OPTIONS

Credential = str | Callable[[], str]
"""A client key, or what returns the one to use now."""

OPTIONS: Final[Sequence[tuple[str, Any]]] = (
    *CHANNEL_OPTIONS,
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    # A new channel is a new connection, never one shared with a channel that has fallen silent.
    ("grpc.use_local_subchannel_pool", 1),
)
# A proxy named in the environment would carry the plaintext elsewhere.
_DIRECT: Final[Sequence[tuple[str, Any]]] = (*OPTIONS, ("grpc.enable_http_proxy", 0))


class PlaintextRefused(Exception):
    """The target is another host, and no TLS credentials were given."""

    def __init__(self, target: str = "The target") -> None:
        super().__init__(f"{target} is not on this host: give TLS credentials, or say unsafe_plaintext=True")


def open_channel(
    target: str, tls: grpc.ChannelCredentials | None, *, unsafe_plaintext: bool
) -> grpc.aio.Channel:
    """A channel for asyncio. Raises PlaintextRefused."""
    if tls is not None:
        return grpc.aio.secure_channel(target, tls, OPTIONS)
    _check_plaintext(target, unsafe_plaintext)
    return grpc.aio.insecure_channel(target, _DIRECT)


def open_channel_sync(
    target: str, tls: grpc.ChannelCredentials | None, *, unsafe_plaintext: bool
) -> grpc.Channel:
    """A channel for threads. Raises PlaintextRefused."""
    if tls is not None:
        return grpc.secure_channel(target, tls, OPTIONS)
    _check_plaintext(target, unsafe_plaintext)
    return grpc.insecure_channel(target, _DIRECT)


def caller_metadata(credential: Credential) -> tuple[tuple[str, str], ...]:
    """Metadata that says who is calling."""
    key = credential if isinstance(credential, str) else credential()
    return (("authorization", f"Bearer {key}"),)


def is_on_this_host(target: str) -> bool:
    """Whether a gRPC target is a Unix socket, or nothing but loopback addresses."""
    if target.startswith(("unix:", "unix-abstract:")):
        return True
    addresses = target.removeprefix("dns:").removeprefix("ipv4:").removeprefix("ipv6:").lstrip("/")
    return all(map(_is_loopback, addresses.split(",")))


def _is_loopback(address: str) -> bool:
    host = address.rpartition(":")[0].strip("[]") if ":" in address else address
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _check_plaintext(target: str, unsafe_plaintext: bool) -> None:
    if not unsafe_plaintext and not is_on_this_host(target):
        raise PlaintextRefused(target)
