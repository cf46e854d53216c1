"""Guarding a gRPC server: who calls, whether they may, and until when.

- `policy`              `Policy`: a rule for each method, and none means no
- `interceptor`         `server_interceptor` for grpc.aio; `sync_interceptor` for threads
- `judging`             the rules of judging that both share
- `principal`           `current_principal()`: whom the call being handled speaks for
- `remote_checks`       `RemoteChecks`: session tokens, many in one call to authsvc; `sync_remote_checks` for threads
- `answers`             reading what authsvc answers
- `streams`             ending open streams; `sync_streams` for threads
- `metadata`            what a call says; `refusals` how it is refused
- `handlers`            gRPC's handlers taken apart; `plain_handlers` plain functions on a grpc.aio server
"""

from authsvc_client.guarding.interceptor import server_interceptor
from authsvc_client.guarding.policy import Policy, PolicyMistaken, Rule, authenticated, public, scopes
from authsvc_client.guarding.principal import NoPrincipal, Principal, current_principal
from authsvc_client.guarding.remote_checks import RemoteChecks
from authsvc_client.guarding.sync_interceptor import sync_server_interceptor
from authsvc_client.guarding.sync_remote_checks import SyncRemoteChecks

__all__ = [
    "NoPrincipal",
    "Policy",
    "PolicyMistaken",
    "Principal",
    "RemoteChecks",
    "Rule",
    "SyncRemoteChecks",
    "authenticated",
    "current_principal",
    "public",
    "scopes",
    "server_interceptor",
    "sync_server_interceptor",
]
