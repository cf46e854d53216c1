"""Judging access tokens on a request, without any I/O.

- `verifier`      `Verifier`: the one question a guarded call asks
- `revocations`   `Revocations`: what is revoked, as far as this process knows, and how fresh that is
- `expiring_ids`  a million session ids in 20 MB
"""

from authsvc_client.verifying.revocations import (
    NEVER_HEARD_MS,
    RevisionNotReached,
    Revocation,
    Revocations,
    Subject,
)
from authsvc_client.verifying.verifier import KeysUnavailable, Verifier

__all__ = [
    "NEVER_HEARD_MS",
    "KeysUnavailable",
    "RevisionNotReached",
    "Revocation",
    "Revocations",
    "Subject",
    "Verifier",
]
