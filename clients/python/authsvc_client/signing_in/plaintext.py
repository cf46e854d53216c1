"""Owns which targets may be sent a bearer without TLS: those on this machine. Leaves asking to whoever opens a channel.

Names follow gRPC (https://github.com/grpc/grpc/blob/master/doc/naming.md). What is not understood is not local.
"""

from collections.abc import Sequence
from ipaddress import ip_address

from authsvc_client.signing_in.errors import PlaintextRefused

# A proxy named in the environment would carry the plaintext elsewhere.
DIRECT: Sequence[tuple[str, int]] = (("grpc.enable_http_proxy", 0),)
_ADDRESSES = ("ipv4:", "ipv6:")


def require_local(target: str) -> None:
    """Return if a plaintext channel to `target` stays on this machine. Raises PlaintextRefused."""
    if not is_local(target):
        raise PlaintextRefused


def is_local(target: str) -> bool:
    """Whether every address that `target` may stand for is a loopback address or a Unix socket."""
    if target.startswith(("unix:", "unix-abstract:")):
        return True
    for scheme in _ADDRESSES:
        if target.startswith(scheme):
            return all(_is_loopback(_host(each)) for each in target.removeprefix(scheme).split(","))
    # An authority (dns://server/name) would be asked who localhost is.
    name = target.removeprefix("dns:///") if target.startswith("dns:///") else target.removeprefix("dns:")
    return "/" not in name and _is_loopback(_host(name))


def _host(address: str) -> str:
    if address.startswith("["):
        return address[1:].partition("]")[0]
    return address if address.count(":") > 1 else address.partition(":")[0]


def _is_loopback(host: str) -> bool:
    if host.lower() == "localhost":  # Resolves to loopback and nothing else (RFC 6761 §6.3).
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
