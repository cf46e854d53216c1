"""Owns what Envoy itself answers, and the headers that every answer has. Leaves the server's answers as they are."""

from typing import Any

_SECURITY_HEADERS = {
    "strict-transport-security": "max-age=31536000; includeSubDomains",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "cross-origin-opener-policy": "same-origin",
}
# The codes of google.rpc.Code by HTTP status: Envoy's own errors read like the server's.
_CODES = {503: 14, 400: 3, 401: 16, 403: 7, 404: 5, 413: 3, 429: 8, 431: 3, 504: 4}


def security_headers() -> list[dict[str, Any]]:
    """Return the headers for every answer that does not bring its own."""
    return [
        {"header": {"key": name, "value": value}, "append_action": "ADD_IF_ABSENT"}
        for name, value in _SECURITY_HEADERS.items()
    ]


def local_replies() -> dict[str, Any]:
    """Return what Envoy's own errors look like: google.rpc.Status as JSON, and when to come back where that helps.

    gRPC callers get a status, whose text stays Envoy's own.
    """
    down, *others = [_mapper(status, code) for status, code in _CODES.items()]
    return {"mappers": [down, _of_server(), *others]}


def _of_server() -> dict[str, Any]:
    """The server's own word about a request that it did not let through: handed on as it is."""
    return {
        "filter": {"response_flag_filter": {"flags": ["UAEX"]}},
        "body_format_override": {
            "text_format_source": {"inline_string": "%LOCAL_REPLY_BODY%"},
            "content_type": "application/json",
        },
    }


def _mapper(status: int, code: int) -> dict[str, Any]:
    body = {"code": code, "message": "%LOCAL_REPLY_BODY%"}
    mapper: dict[str, Any] = {
        "filter": {"and_filter": {"filters": [_status_is(status), _is_not_grpc()]}},
        "body_format_override": {"json_format": body},
    }
    if status == 503:
        mapper["headers_to_add"] = [
            {"header": {"key": "retry-after", "value": "1"}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
        ]
    return mapper


def _status_is(status: int) -> dict[str, Any]:
    value = {"default_value": status, "runtime_key": f"edge.reply_{status}"}
    return {"status_code_filter": {"comparison": {"op": "EQ", "value": value}}}


def _is_not_grpc() -> dict[str, Any]:
    grpc = {"name": "content-type", "string_match": {"prefix": "application/grpc"}, "invert_match": True}
    return {"header_filter": {"header": {**grpc, "treat_missing_header_as_empty": True}}}
