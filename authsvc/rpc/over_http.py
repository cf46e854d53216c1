"""Owns what a status looks like over HTTP: its code, its body and its headers, alike wherever one is told that way."""

import json
from collections.abc import Mapping
from functools import lru_cache

import grpc
from google.protobuf import json_format
from google.rpc import status_pb2

from authsvc.rpc.errors import Status

_Code = grpc.StatusCode
_HTTP = {
    _Code.UNAUTHENTICATED: 401,
    _Code.PERMISSION_DENIED: 403,
    _Code.INVALID_ARGUMENT: 400,
    _Code.RESOURCE_EXHAUSTED: 503,
    _Code.UNAVAILABLE: 503,
}
_HEADERS = {401: {"www-authenticate": "Bearer"}, 503: {"retry-after": "1"}}


def http_code(status: Status) -> int:
    """Return the HTTP status code."""
    return _HTTP.get(status.code, 403)


def http_headers(code: int) -> Mapping[str, str]:
    """Return the headers that go with an HTTP status code."""
    return {"cache-control": "no-store", "content-type": "application/json", **_HEADERS.get(code, {})}


def json_body(status: Status) -> str:
    """Return the status as google.rpc.Status in JSON, which is how the edge shows those of its JSON routes."""
    return _json(status.details)


@lru_cache(maxsize=256)
def _json(details: bytes) -> str:
    status = status_pb2.Status.FromString(details)
    return json.dumps(json_format.MessageToDict(status), separators=(",", ":"), ensure_ascii=False)
