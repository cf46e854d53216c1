"""What a service installs to use authsvc: access tokens verified locally and strictly, revocations heard at once.

The rooms:

- `authsvc_client.strict`: the pure core. Takes a token, a key set and the time; answers or raises. No I/O.
- `authsvc_client.verifying`: a verifier for requests: keys and revocations as known now. No I/O on a request.
- `authsvc_client.watching`: the stream that keeps a verifier's keys and revocations fresh.

This file only names the doors. Each is opened when it is first asked for, so that importing one room loads no other,
and verifying alone never loads a transport.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from authsvc_client.strict import (
        AccessToken,
        KeySet,
        TokenRejected,
        VerifiedTokens,
        require_audience,
        require_scopes,
        verify_access_token,
    )
    from authsvc_client.verifying import (
        KeysUnavailable,
        RevisionNotReached,
        Revocations,
        Verifier,
    )
    from authsvc_client.watching import (
        PlaintextRefused,
        Watcher,
        WatcherThread,
        shared_watcher,
    )

# Each name and the room it comes from.
_DOORS = {
    "AccessToken": "strict",
    "KeySet": "strict",
    "KeysUnavailable": "verifying",
    "PlaintextRefused": "watching",
    "RevisionNotReached": "verifying",
    "Revocations": "verifying",
    "TokenRejected": "strict",
    "VerifiedTokens": "strict",
    "Verifier": "verifying",
    "Watcher": "watching",
    "WatcherThread": "watching",
    "require_audience": "strict",
    "require_scopes": "strict",
    "shared_watcher": "watching",
    "verify_access_token": "strict",
}

__all__ = [
    "AccessToken",
    "KeySet",
    "KeysUnavailable",
    "PlaintextRefused",
    "RevisionNotReached",
    "Revocations",
    "TokenRejected",
    "VerifiedTokens",
    "Verifier",
    "Watcher",
    "WatcherThread",
    "require_audience",
    "require_scopes",
    "shared_watcher",
    "verify_access_token",
]


def __getattr__(name: str) -> Any:
    room = _DOORS.get(name)
    if room is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{room}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
