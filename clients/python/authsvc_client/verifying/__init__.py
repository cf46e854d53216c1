"""Judging access tokens on a request, without any I/O on its path.

- `verifier`      `Verifier`: the one question a guarded call asks
- `revocations`   `Revocations`: what is revoked, as far as this process knows, and how fresh that is
- `key_refresh`   `KeyRefresh`: keeps keys fresh where no watcher does, on a thread
- `key_sources`   `JwksUrl`, `JwksFile`: where it reads them
- `expiring_ids`  a million session ids in 20 MB
"""

from authsvc_client.verifying.key_refresh import KeyRefresh
from authsvc_client.verifying.key_sources import JwksFile, JwksUrl, KeySource, KeySourceFailed
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
    "JwksFile",
    "JwksUrl",
    "KeyRefresh",
    "KeySource",
    "KeySourceFailed",
    "KeysUnavailable",
    "RevisionNotReached",
    "Revocation",
    "Revocations",
    "Subject",
    "Verifier",
]
