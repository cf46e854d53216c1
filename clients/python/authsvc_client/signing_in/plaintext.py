"""Owns keeping bearers off plaintext channels to other hosts. Leaves telling targets apart to `watching.channels`."""

from collections.abc import Sequence

from authsvc_client.watching.channels import PlaintextRefused, is_on_this_host

__all__ = ["DIRECT", "PlaintextRefused", "TargetNotNamed", "require_local"]

# A proxy named in the environment would carry the plaintext elsewhere.
DIRECT: Sequence[tuple[str, int]] = (("grpc.enable_http_proxy", 0),)


class TargetNotNamed(PlaintextRefused):
    """The channel is plaintext, and nobody has said that it stays on this host. Nothing was sent."""

    def __init__(self) -> None:
        super().__init__("A plaintext channel whose `target` was not named")


def require_local(target: str) -> None:
    """Return if a plaintext channel to `target` stays on this host. Raises PlaintextRefused."""
    if not is_on_this_host(target):
        raise PlaintextRefused(target)
