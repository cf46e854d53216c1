"""Owns keeping bearers off plaintext channels to other hosts. Leaves telling targets apart to `watching.channels`."""

from collections.abc import Sequence
from typing import Any

import grpc

from authsvc_client.signing_in.errors import SignInFailed
from authsvc_client.watching.channels import PlaintextRefused, is_on_this_host

# A proxy named in the environment would carry the plaintext elsewhere.
DIRECT: Sequence[tuple[str, int]] = (("grpc.enable_http_proxy", 0),)


class TargetNotNamed(SignInFailed, PlaintextRefused):
    """The channel is plaintext, and nobody has said that it stays on this host. Nothing was sent.

    A gRPC error, because a call raises it: grpc.aio is at a loss with others.
    """

    def __init__(self) -> None:
        super().__init__(
            "The channel is plaintext. Give it TLS credentials; or name its `target`, if that is on this host.",
            code=grpc.StatusCode.FAILED_PRECONDITION,
        )

    def again(self) -> "TargetNotNamed":
        """The same error, to be raised for another caller."""
        return TargetNotNamed()

    def __reduce__(self) -> tuple[Any, ...]:
        return TargetNotNamed, ()


def require_local(target: str) -> None:
    """Return if a plaintext channel to `target` stays on this host. Raises PlaintextRefused."""
    if not is_on_this_host(target):
        raise PlaintextRefused(target)
