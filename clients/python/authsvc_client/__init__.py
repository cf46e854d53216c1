"""What a service installs to use authsvc: access tokens verified locally and strictly, revocations heard at once.

The rooms:

- `authsvc_client.strict`: the pure core. Takes a token, a key set and the time; answers or raises. No I/O.
- `authsvc_client.verifying`: a verifier for requests: keys and revocations as known now. No I/O on a request.
- `authsvc_client.watching`: the stream that keeps a verifier's keys and revocations fresh.
- `authsvc_client.guarding`: the interceptors that let a server be called by whom its policy says, and until when.

This file only names the doors. Each is opened when it is first asked for, so that importing one room loads no other,
and verifying alone never loads a transport.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from authsvc_client.guarding import (
        MIN_REVISION_KEY,
        NoPrincipal,
        Policy,
        PolicyMistaken,
        Principal,
        RemoteChecks,
        Rule,
        SyncRemoteChecks,
        authenticated,
        current_principal,
        public,
        scopes,
        server_interceptor,
        sync_server_interceptor,
    )
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
    "MIN_REVISION_KEY": "guarding",
    "NoPrincipal": "guarding",
    "PlaintextRefused": "watching",
    "Policy": "guarding",
    "PolicyMistaken": "guarding",
    "Principal": "guarding",
    "RemoteChecks": "guarding",
    "RevisionNotReached": "verifying",
    "Revocations": "verifying",
    "Rule": "guarding",
    "SyncRemoteChecks": "guarding",
    "TokenRejected": "strict",
    "VerifiedTokens": "strict",
    "Verifier": "verifying",
    "Watcher": "watching",
    "WatcherThread": "watching",
    "authenticated": "guarding",
    "current_principal": "guarding",
    "public": "guarding",
    "require_audience": "strict",
    "require_scopes": "strict",
    "scopes": "guarding",
    "server_interceptor": "guarding",
    "shared_watcher": "watching",
    "sync_server_interceptor": "guarding",
    "verify_access_token": "strict",
}

__all__ = [
    "MIN_REVISION_KEY",
    "AccessToken",
    "KeySet",
    "KeysUnavailable",
    "NoPrincipal",
    "PlaintextRefused",
    "Policy",
    "PolicyMistaken",
    "Principal",
    "RemoteChecks",
    "RevisionNotReached",
    "Revocations",
    "Rule",
    "SyncRemoteChecks",
    "TokenRejected",
    "VerifiedTokens",
    "Verifier",
    "Watcher",
    "WatcherThread",
    "authenticated",
    "current_principal",
    "public",
    "require_audience",
    "require_scopes",
    "scopes",
    "server_interceptor",
    "shared_watcher",
    "sync_server_interceptor",
    "verify_access_token",
]


def __getattr__(name: str) -> Any:
    room = _DOORS.get(name)
    if room is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{room}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
