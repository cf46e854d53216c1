"""What a service installs to use authsvc: access tokens verified locally and strictly, revocations heard at once.

The rooms:

- `authsvc_client.strict`: the pure core. Takes a token, a key set and the time; answers or raises. No I/O.
- `authsvc_client.verifying`: a verifier for requests: keys and revocations as known now. No I/O on a request.
- `authsvc_client.watching`: the stream that keeps a verifier's keys and revocations fresh.
- `authsvc_client.guarding`: the interceptors that let a server be called by whom its policy says, and until when.
- `authsvc_client.signing_in`: the calling side: log in, stay logged in, and attach the token to every call.
- `authsvc_client.revision`: asking whoever answers to have heard of one's own revocations.
- `authsvc_client.service_config`: how channels behave when an instance of authsvc stops, restarts or dies.
- `authsvc_client.frameworks`: the same guard for ASGI, FastAPI and Django; imported by name.
- `authsvc_client.testing`: tokens, and an authsvc in memory, for tests of services; a pytest plugin brings them.

This file only names the doors. Each is opened when it is first asked for, so that importing one room loads no other,
and verifying alone never loads a transport.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from authsvc_client.guarding import (
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
    from authsvc_client.revision import MIN_REVISION_KEY, at_least_revision, min_revision
    from authsvc_client.service_config import CHANNEL_OPTIONS, SERVICE_CONFIG
    from authsvc_client.signing_in import (
        AuthClient,
        Challenge,
        ClientKey,
        MemoryStore,
        PasswordLogin,
        ReceivedTokenRejected,
        RefreshTokenSource,
        SecondStepNeeded,
        SessionEnded,
        SessionToken,
        SignedIn,
        SignInFailed,
        SyncAuthClient,
        SyncPasswordLogin,
        SyncRefreshTokenSource,
        TokenFile,
        TokenFileUnsafe,
        client_interceptors,
        open_channel,
        open_sync_channel,
        reason_of,
        retry_after_ms,
        sync_client_interceptors,
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
        JwksFile,
        JwksUrl,
        KeyRefresh,
        KeysUnavailable,
        RevisionNotReached,
        Revocations,
        Verifier,
    )
    from authsvc_client.watching import (
        KeySetCall,
        PlaintextRefused,
        Watcher,
        WatcherThread,
        shared_watcher,
    )

# Each name and the room it comes from.
_DOORS = {
    "AccessToken": "strict",
    "AuthClient": "signing_in",
    "CHANNEL_OPTIONS": "service_config",
    "Challenge": "signing_in",
    "ClientKey": "signing_in",
    "JwksFile": "verifying",
    "JwksUrl": "verifying",
    "KeyRefresh": "verifying",
    "KeySet": "strict",
    "KeySetCall": "watching",
    "KeysUnavailable": "verifying",
    "MIN_REVISION_KEY": "revision",
    "MemoryStore": "signing_in",
    "NoPrincipal": "guarding",
    "PasswordLogin": "signing_in",
    "PlaintextRefused": "watching",
    "Policy": "guarding",
    "PolicyMistaken": "guarding",
    "Principal": "guarding",
    "ReceivedTokenRejected": "signing_in",
    "RefreshTokenSource": "signing_in",
    "RemoteChecks": "guarding",
    "RevisionNotReached": "verifying",
    "Revocations": "verifying",
    "Rule": "guarding",
    "SERVICE_CONFIG": "service_config",
    "SecondStepNeeded": "signing_in",
    "SessionEnded": "signing_in",
    "SessionToken": "signing_in",
    "SignInFailed": "signing_in",
    "SignedIn": "signing_in",
    "SyncAuthClient": "signing_in",
    "SyncPasswordLogin": "signing_in",
    "SyncRefreshTokenSource": "signing_in",
    "SyncRemoteChecks": "guarding",
    "TokenFile": "signing_in",
    "TokenFileUnsafe": "signing_in",
    "TokenRejected": "strict",
    "VerifiedTokens": "strict",
    "Verifier": "verifying",
    "Watcher": "watching",
    "WatcherThread": "watching",
    "at_least_revision": "revision",
    "authenticated": "guarding",
    "client_interceptors": "signing_in",
    "current_principal": "guarding",
    "min_revision": "revision",
    "open_channel": "signing_in",
    "open_sync_channel": "signing_in",
    "public": "guarding",
    "reason_of": "signing_in",
    "require_audience": "strict",
    "require_scopes": "strict",
    "retry_after_ms": "signing_in",
    "scopes": "guarding",
    "server_interceptor": "guarding",
    "shared_watcher": "watching",
    "sync_client_interceptors": "signing_in",
    "sync_server_interceptor": "guarding",
    "verify_access_token": "strict",
}

__all__ = [
    "CHANNEL_OPTIONS",
    "MIN_REVISION_KEY",
    "SERVICE_CONFIG",
    "AccessToken",
    "AuthClient",
    "Challenge",
    "ClientKey",
    "JwksFile",
    "JwksUrl",
    "KeyRefresh",
    "KeySet",
    "KeySetCall",
    "KeysUnavailable",
    "MemoryStore",
    "NoPrincipal",
    "PasswordLogin",
    "PlaintextRefused",
    "Policy",
    "PolicyMistaken",
    "Principal",
    "ReceivedTokenRejected",
    "RefreshTokenSource",
    "RemoteChecks",
    "RevisionNotReached",
    "Revocations",
    "Rule",
    "SecondStepNeeded",
    "SessionEnded",
    "SessionToken",
    "SignInFailed",
    "SignedIn",
    "SyncAuthClient",
    "SyncPasswordLogin",
    "SyncRefreshTokenSource",
    "SyncRemoteChecks",
    "TokenFile",
    "TokenFileUnsafe",
    "TokenRejected",
    "VerifiedTokens",
    "Verifier",
    "Watcher",
    "WatcherThread",
    "at_least_revision",
    "authenticated",
    "client_interceptors",
    "current_principal",
    "min_revision",
    "open_channel",
    "open_sync_channel",
    "public",
    "reason_of",
    "require_audience",
    "require_scopes",
    "retry_after_ms",
    "scopes",
    "server_interceptor",
    "shared_watcher",
    "sync_client_interceptors",
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
