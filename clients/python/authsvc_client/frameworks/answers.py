"""Owns how a request is refused over HTTP: status, `WWW-Authenticate` (RFC 6750 §3), a small JSON body.

The reasons and their texts are those of guarded gRPC calls.
"""

import json
from typing import Final, NamedTuple
from urllib.parse import urlsplit

import grpc

from authsvc_client.guarding.refusals import Refusals, Refused

RETRY_AFTER_SECONDS: Final = 1
_STATUS: Final = {
    grpc.StatusCode.UNAUTHENTICATED: 401,
    grpc.StatusCode.PERMISSION_DENIED: 403,
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.UNAVAILABLE: 503,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 503,
}


class Answer(NamedTuple):
    """An HTTP response; header names in lower case."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes
    reason: str


class Answers:
    """The HTTP response for each refusal. The realm is the issuer's host."""

    def __init__(self, issuer: str) -> None:
        self._realm = urlsplit(issuer).hostname or ""
        self._refusals = Refusals(self._realm)

    def of(self, refused: Refused) -> Answer:
        """What the caller gets."""
        status = self._refusals.status(refused)
        code = _STATUS.get(status.code, 500)
        body = json.dumps(
            {"reason": refused.reason, "message": status.message, "domain": self._realm}
        ).encode()
        headers = [("content-type", "application/json"), ("content-length", str(len(body)))]
        headers.append(("cache-control", "no-store"))
        if code in (401, 403):
            headers.append(("www-authenticate", self._challenge(refused, status.message)))
        if code == 503:
            headers.append(("retry-after", str(RETRY_AFTER_SECONDS)))
        return Answer(code, tuple(headers), body, refused.reason)

    def _challenge(self, refused: Refused, message: str) -> str:
        """What to bring instead. A caller who brought nothing is told no error (RFC 6750 §3.1)."""
        challenge = f'Bearer realm="{self._realm}"'
        match refused.reason:
            case "CREDENTIALS_MISSING" | "CALLER_NOT_PERMITTED":
                return challenge
            case "SCOPE_INSUFFICIENT":
                scope = (refused.facts or {}).get("scope", "")
                return f'{challenge}, error="insufficient_scope", scope="{scope}"'
        return f'{challenge}, error="invalid_token", error_description="{message}"'
