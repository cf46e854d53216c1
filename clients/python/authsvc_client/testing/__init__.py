"""Testing services that use authsvc, without authsvc running. A pytest plugin brings it as fixtures (`plugin`).

- `minting`        `TokenMinter`: access tokens and revocations in memory, with a verifier that trusts them; no network
- `fake`           `FakeAuthService`: an authsvc on a free port, speaking the real contract, everything in memory
- `movable_clock`  `MovableClock`: time as tests want it

Only the core dependencies are needed, and pytest for the plugin.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from authsvc_client.testing.fake.records import Lifetimes
    from authsvc_client.testing.fake.server import PASSWORD, FakeAuthService
    from authsvc_client.testing.minting import TokenMinter, bearer
    from authsvc_client.testing.movable_clock import MovableClock

# Opened when first asked for: pytest imports this package at every start, wherever authsvc is installed.
_DOORS = {
    "PASSWORD": "fake.server",
    "FakeAuthService": "fake.server",
    "Lifetimes": "fake.records",
    "MovableClock": "movable_clock",
    "TokenMinter": "minting",
    "bearer": "minting",
}

__all__ = ["PASSWORD", "FakeAuthService", "Lifetimes", "MovableClock", "TokenMinter", "bearer"]


def __getattr__(name: str) -> Any:
    room = _DOORS.get(name)
    if room is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{room}"), name)
