"""What a service installs to use authsvc: access tokens verified locally and strictly.

The rooms:

- `authsvc_client.strict`: the pure core. Takes a token, a key set and the time; answers or raises. No I/O.

This file only names the doors and stays free of grpc, so that importing a room never loads a transport.
"""

from authsvc_client.strict import (
    AccessToken,
    KeySet,
    TokenRejected,
    VerifiedTokens,
    require_audience,
    require_scopes,
    verify_access_token,
)

__all__ = [
    "AccessToken",
    "KeySet",
    "TokenRejected",
    "VerifiedTokens",
    "require_audience",
    "require_scopes",
    "verify_access_token",
]
