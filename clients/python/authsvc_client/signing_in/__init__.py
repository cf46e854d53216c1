"""The calling side: signing in, staying signed in, and saying so on every call. Sync and asyncio.

The rooms, in the order a call passes through them:

- `channels`, `interceptors`, `sync_interceptors`   attach a bearer to calls; `attaching` is what they share
- `sources`, `sync_sources`     where the bearer comes from: one renewal at a time, for all tasks or threads
- `renewal`                     when tokens are renewed, and what becomes of the outcome
- `stored`, `token_file`        where the newest tokens are kept, and who may renew them
- `client`                      AuthClient and SyncAuthClient: login, refresh, logout, sessions by hand
- `conversations`, `received`   what is said to authsvc, and believing its answers
- `asking`                      asking again for what may have got lost
- `steps`, `connections`        conversations as generators, and the two ways of running them
- `plaintext`, `bearers`        what is never sent, and where not
- `errors`, `reasons`           what calls raise, and reading why

A call reads:

    async with AuthClient("auth.example.com:443", issuer=ISSUER, client_key=KEY, credentials=TLS) as auth:
        source = PasswordLogin(auth, "alice", password)
        async with open_channel("orders.example.com:443", source, TLS) as channel:
            await OrdersStub(channel).ListOrders(request)
"""

from authsvc_client.signing_in.channels import open_channel, open_sync_channel
from authsvc_client.signing_in.client import AuthClient, SyncAuthClient
from authsvc_client.signing_in.errors import (
    Challenge,
    ReceivedTokenRejected,
    SecondStepNeeded,
    SessionEnded,
    SignInFailed,
)
from authsvc_client.signing_in.interceptors import client_interceptors
from authsvc_client.signing_in.reasons import reason_of, retry_after_ms
from authsvc_client.signing_in.received import SignedIn, Tokens
from authsvc_client.signing_in.sources import (
    ClientKey,
    FixedSource,
    PasswordLogin,
    RefreshTokenSource,
    SessionToken,
    Source,
)
from authsvc_client.signing_in.stored import MemoryStore, Stored, TokenStore
from authsvc_client.signing_in.sync_interceptors import sync_client_interceptors
from authsvc_client.signing_in.sync_sources import SyncPasswordLogin, SyncRefreshTokenSource, SyncSource
from authsvc_client.signing_in.token_file import TokenFile, TokenFileUnsafe

__all__ = [
    "AuthClient",
    "Challenge",
    "ClientKey",
    "FixedSource",
    "MemoryStore",
    "PasswordLogin",
    "ReceivedTokenRejected",
    "RefreshTokenSource",
    "SecondStepNeeded",
    "SessionEnded",
    "SessionToken",
    "SignInFailed",
    "SignedIn",
    "Source",
    "Stored",
    "SyncAuthClient",
    "SyncPasswordLogin",
    "SyncRefreshTokenSource",
    "SyncSource",
    "TokenFile",
    "TokenFileUnsafe",
    "TokenStore",
    "Tokens",
    "client_interceptors",
    "open_channel",
    "open_sync_channel",
    "reason_of",
    "retry_after_ms",
    "sync_client_interceptors",
]
