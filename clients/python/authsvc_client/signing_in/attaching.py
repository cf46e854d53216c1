"""Owns what is added to a call's metadata, and over which channels. Leaves the call shapes to the interceptors.

An interceptor is not told what kind of channel it serves. gRPC is: it refuses call credentials on a plaintext channel
before anything is sent. So while nobody has said what the channel is, the bearer travels as call credentials. Once a
call has got through with them the channel is known to be encrypted, and the bearer becomes metadata: a fifth cheaper.
"""

from collections.abc import Iterable
from typing import Any

import grpc

from authsvc_client.revision import MIN_REVISION_KEY, min_revision
from authsvc_client.watching.channels import is_on_this_host

_KEY = "authorization"
_NOT_PRIVATE = "security level"

Pairs = list[tuple[str, str | bytes]]


class Privacy:
    """Whether a bearer may go over this channel as it is. One for each channel."""

    def __init__(self, target: str | None, unsafe_plaintext: bool) -> None:
        self.is_known = unsafe_plaintext or (target is not None and is_on_this_host(target))

    def proven(self) -> None:
        """A call with call credentials went out."""
        self.is_known = True


def brings_own(metadata: Iterable[tuple[str, Any]] | None) -> bool:
    """Whether the caller has said who calls, and wants nobody else named."""
    return any(key.lower() == _KEY for key, _ in metadata or ())


def dressed(metadata: Iterable[tuple[str, Any]] | None, bearer: str | None) -> Pairs:
    """A call's metadata with the bearer, if it is to go there, and the revision asked for."""
    pairs: Pairs = [(key, value) for key, value in metadata or ()]
    if bearer is not None:
        pairs.append((_KEY, f"Bearer {bearer}"))
    revision = min_revision.get()
    if revision and all(key != MIN_REVISION_KEY for key, _ in pairs):
        pairs.append((MIN_REVISION_KEY, str(revision)))
    return pairs


def credentials_with(bearer: str, others: grpc.CallCredentials | None) -> grpc.CallCredentials:
    """Call credentials that carry the bearer, besides the call's own."""
    carrying = grpc.access_token_call_credentials(bearer)
    return carrying if others is None else grpc.composite_call_credentials(others, carrying)


def was_held_back(error: grpc.RpcError) -> bool:
    """Whether gRPC itself kept call credentials from a plaintext channel. Decides only which words explain it."""
    details = getattr(error, "details", None)
    return _NOT_PRIVATE in ((details() if callable(details) else None) or "")
