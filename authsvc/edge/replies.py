"""Owns what Envoy itself answers, and the headers that answers have. Leaves the server's answers as they are."""

from collections.abc import Mapping
from typing import Any

# Of every answer that does not bring its own.
_HEADERS = {"strict-transport-security": "max-age=31536000", "x-content-type-options": "nosniff"}
# Of answers to browsers by authsvc. What a service's pages may do, the service says.
_OWN_HEADERS = {
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "cross-origin-opener-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-frame-options": "DENY",
}
# Envoy's own errors read like the server's: the google.rpc.Code of an HTTP status, and what it means in words.
_DOWN = (503, 14, "The service does not answer. Nothing is known; try again.")
_OTHERS = (
    (400, 3, "The request cannot be read. %LOCAL_REPLY_BODY%"),
    (403, 7, "This is not allowed."),
    (404, 5, "There is nothing here."),
    (408, 4, "The request took too long."),
    (413, 3, "The request is too large."),
    (429, 8, "Too many requests."),
    (431, 3, "The headers are too large."),
    (502, 14, "The service did not answer in a way that can be understood."),
    (504, 4, "The service took too long."),
)


def headers() -> list[dict[str, Any]]:
    """Return the headers for every answer that does not bring its own."""
    return _if_absent(_HEADERS)


def own_headers() -> list[dict[str, Any]]:
    """Return the headers for answers to browsers by authsvc, where they do not bring their own."""
    return _if_absent(_OWN_HEADERS)


def local_replies() -> dict[str, Any]:
    """Return what Envoy's own errors look like: google.rpc.Status as JSON, and when to come back where that helps.

    gRPC callers get a status, whose text stays Envoy's own.
    """
    down = _mapper(*_DOWN)
    down["headers_to_add"] = _if_absent({"retry-after": "1"})
    return {"mappers": [down, _of_server(), *(_mapper(*other) for other in _OTHERS)]}


def _of_server() -> dict[str, Any]:
    """The server's own word about a request that it did not let through: handed on as it is."""
    return {
        "filter": {"response_flag_filter": {"flags": ["UAEX"]}},
        "body_format_override": {
            "text_format_source": {"inline_string": "%LOCAL_REPLY_BODY%"},
            "content_type": "application/json",
        },
    }


def _mapper(status: int, code: int, message: str) -> dict[str, Any]:
    return {
        "filter": {"and_filter": {"filters": [_status_is(status), _asks_no_grpc()]}},
        "body_format_override": {"json_format": {"code": code, "message": message}},
    }


def _status_is(status: int) -> dict[str, Any]:
    value = {"default_value": status, "runtime_key": f"edge.reply_{status}"}
    return {"status_code_filter": {"comparison": {"op": "EQ", "value": value}}}


def _asks_no_grpc() -> dict[str, Any]:
    """Not gRPC, or JSON that has been turned into it: such a request remembers its path."""
    grpc = {"name": "content-type", "string_match": {"prefix": "application/grpc"}, "invert_match": True}
    turned = {"name": "x-envoy-original-path", "present_match": True}
    either = [{**grpc, "treat_missing_header_as_empty": True}, turned]
    return {"or_filter": {"filters": [{"header_filter": {"header": header}} for header in either]}}


def _if_absent(values: Mapping[str, str]) -> list[dict[str, Any]]:
    return [
        {"header": {"key": name, "value": value}, "append_action": "ADD_IF_ABSENT"}
        for name, value in values.items()
    ]
