"""Owns how a channel to authsvc behaves when an instance stops, restarts or dies: the gRPC service config to ship.

Calls spread over all addresses of the target (`dns:///auth.internal:443`, `ipv4:10.0.0.1:443,10.0.0.2:443`), and leave
an instance as soon as it says that it stops. A call that failed for want of an instance is made again where that cannot
do harm:

- what only reads, up to three more times, within about half a second;
- Revoke, which is idempotent, and Refresh, which within 30 s answers the same token with the same successor, up to two
  more times. Both, and Login, also wait for a connection, within their deadline, rather than fail without one;
- Login and what creates or changes things, never: a reply that got lost may mean that it has happened.

Whatever the channel is told, give every call a deadline. Leaves opening channels to whoever calls.
"""

import json
from collections.abc import Iterable, Sequence
from typing import Any, Final

READS: Final = (
    "authsvc.v1.AuthService/BatchValidateSessions",
    "authsvc.v1.AuthService/ExchangeSession",
    "authsvc.v1.AuthService/GetKeySet",
    "authsvc.v1.AuthService/GetSecondFactor",
    "authsvc.v1.AuthService/Introspect",
    "authsvc.v1.AuthService/ListSecurityEvents",
    "authsvc.v1.AuthService/ListSessions",
    "authsvc.v1.AuthService/ValidateSession",
    "authsvc.v1.AdminService/ExplainToken",
    "authsvc.v1.AdminService/GetUser",
    "authsvc.v1.AdminService/ListAuditEvents",
    "authsvc.v1.AdminService/ListClients",
    "authsvc.v1.AdminService/ListSigningKeys",
    "authsvc.v1.AdminService/ListUsers",
)
REVOKE: Final = "authsvc.v1.AuthService/Revoke"
REFRESH: Final = "authsvc.v1.AuthService/Refresh"
LOGIN: Final = "authsvc.v1.AuthService/Login"

_READS_AT_MOST: Final = 4
# The server gives the same successor three times: one that rotates and two that repeat stay within that.
_WRITES_AT_MOST: Final = 3


def service_config(*, repeat_refresh: bool = True) -> str:
    """The service config, as JSON. Without `repeat_refresh` for callers that repeat Refresh by themselves: the two
    together could ask for a successor more often than the server gives it, and that counts as theft."""
    repeated = (REVOKE, REFRESH) if repeat_refresh else (REVOKE,)
    waiting = (LOGIN,) if repeat_refresh else (LOGIN, REFRESH)
    return json.dumps(
        {
            "loadBalancingConfig": [{"round_robin": {}}],
            "healthCheckConfig": {"serviceName": "authsvc.v1"},
            "methodConfig": [
                {"name": _names(READS), "retryPolicy": _retries(_READS_AT_MOST)},
                {
                    "name": _names(repeated),
                    "waitForReady": True,
                    "retryPolicy": _retries(_WRITES_AT_MOST),
                },
                {"name": _names(waiting), "waitForReady": True},
            ],
            # When most calls fail, repeating them makes matters worse: then nothing is repeated.
            "retryThrottling": {"maxTokens": 100, "tokenRatio": 0.5},
        }
    )


def channel_options(*, repeat_refresh: bool = True) -> Sequence[tuple[str, Any]]:
    """Options for a channel to authsvc: the service config, and a quick return to an instance that has come back."""
    return (
        ("grpc.service_config", service_config(repeat_refresh=repeat_refresh)),
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.min_reconnect_backoff_ms", 1_000),
        ("grpc.max_reconnect_backoff_ms", 1_000),
    )


def _names(methods: Iterable[str]) -> list[dict[str, str]]:
    names = (method.partition("/") for method in methods)
    return [{"service": service, "method": method} for service, _, method in names]


def _retries(attempts: int) -> dict[str, object]:
    return {
        "maxAttempts": attempts,
        "initialBackoff": "0.05s",
        "maxBackoff": "0.5s",
        "backoffMultiplier": 3,
        # CANCELLED is what gRPC answers to calls that have arrived at a server when it stops, and not yet begun.
        "retryableStatusCodes": ["UNAVAILABLE", "CANCELLED"],
    }


SERVICE_CONFIG: Final = service_config()
CHANNEL_OPTIONS: Final = channel_options()
