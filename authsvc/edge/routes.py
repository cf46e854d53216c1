"""Owns which path goes where, and as whom. Leaves judging who comes to the server.

Whoever is not let through by name is asked about: the filter that asks the server (ext_authz) is on for every route,
and off only where a route below says so. A route that is forgotten is closed.

Browsers get what `v1/` offers as JSON, and the same methods as gRPC-Web; those calls carry the edge's own client key,
and a mark that tokens travel as cookies. Native gRPC goes through as it comes, with the caller's own key; the rest of
the server, its administration too, is not to be reached from here.
"""

from typing import Any

from authsvc.edge import clusters, replies
from authsvc.edge.asked import Edge, ServiceRoute

MARK = "x-authsvc-cookies"
ADDRESS = "x-authsvc-address"
ASK = "envoy.filters.http.ext_authz"
JSON = "envoy.filters.http.grpc_json_transcoder"
OWN_COOKIES = "envoy.filters.http.lua"
BUFFER = "envoy.filters.http.buffer"
CORS = "envoy.filters.http.cors"
_SERVICE = "authsvc.v1.AuthService"
# What a browser may ask. All but the key set answer for the cookies that come along, and nobody else's.
_BROWSER_METHODS = (
    *("Login", "Refresh", "Revoke", "ListSessions", "ValidateSession", "GetKeySet", "ChangePassword"),
    *("ListSecurityEvents", "StepUp", "GetSecondFactor", "EnrollTotp", "ConfirmTotp", "DisableTotp"),
    "RegenerateRecoveryCodes",
)
_WELL_KNOWN = ("/.well-known/jwks.json", "/.well-known/oauth-authorization-server")
_PAGES = ("/login", "/account", "/inspector")
PER_ROUTE = "type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthzPerRoute"
_UNASKED = {ASK: {"@type": PER_ROUTE, "disabled": True}}
# Puts a filter that is off on every other route to work, with the settings it has there.
_ON = {"@type": "type.googleapis.com/envoy.config.route.v3.FilterConfig", "config": {}}
# What the server has no use for; its calls may carry 6 KiB of headers.
_LEFT_OUT = ["accept", "accept-encoding", "accept-language", "referer", "sec-ch-ua", "sec-ch-ua-mobile"]


def routes(edge: Edge) -> list[dict[str, Any]]:
    """Return the routes, the first that fits counts."""
    pages = [] if edge.pages is None else [_page(path) for path in (*_WELL_KNOWN, *_PAGES)]
    services = sorted(edge.services, key=lambda service: -len(service.prefix))
    browsers = [_json(), *map(_grpc_web, _BROWSER_METHODS)]
    return [*browsers, _grpc(), *pages, *map(_service, services), _nothing()]


def _json() -> dict[str, Any]:
    return _as_edge({"prefix": "/v1/"}, {BUFFER: _ON, JSON: _ON})


def _grpc_web(method: str) -> dict[str, Any]:
    content = {"name": "content-type", "string_match": {"prefix": "application/grpc-web"}}
    return _as_edge({"path": f"/{_SERVICE}/{method}", "headers": [content]}, {})


def _as_edge(match: dict[str, Any], filters: dict[str, Any]) -> dict[str, Any]:
    return {
        "match": match,
        "route": {"cluster": clusters.SERVER_AS_EDGE, "timeout": "15s"},
        "request_headers_to_add": [
            _set(MARK, "true"),
            _set(ADDRESS, "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%"),
        ],
        "request_headers_to_remove": _LEFT_OUT,
        "response_headers_to_add": replies.own_headers(),
        "response_headers_to_remove": ["grpc-accept-encoding"],
        "typed_per_filter_config": {**_UNASKED, OWN_COOKIES: _ON, **filters},
    }


def _grpc() -> dict[str, Any]:
    """Native calls: each with its caller's own credentials, for as long as its own deadline says."""
    content = {
        "name": "content-type",
        "string_match": {"safe_regex": {"regex": r"application/grpc(\+proto)?"}},
    }
    return {
        "match": {"prefix": f"/{_SERVICE}/", "headers": [content]},
        "route": {
            "cluster": clusters.SERVER,
            "timeout": "0s",
            "max_stream_duration": {"grpc_timeout_header_max": "0s"},
        },
        "typed_per_filter_config": _UNASKED,
    }


def _page(path: str) -> dict[str, Any]:
    match = {"path": path} if path in _WELL_KNOWN else {"path_separated_prefix": path}
    return {
        "match": match,
        "route": {"cluster": clusters.PAGES, "timeout": "15s"},
        "typed_per_filter_config": _UNASKED,
    }


def _service(service: ServiceRoute) -> dict[str, Any]:
    """A service: its route hands its wishes to the server, which answers with headers for it or a refusal."""
    settings = {"context_extensions": service.wishes}
    streams = service.endpoint.http2
    return {
        "match": {"prefix": service.prefix},
        "route": {"cluster": service.name, "timeout": "0s" if streams else "60s"},
        "typed_per_filter_config": {ASK: {"@type": PER_ROUTE, "check_settings": settings}},
    }


def _nothing() -> dict[str, Any]:
    return {
        "match": {"prefix": "/"},
        "direct_response": {"status": 404},
        "response_headers_to_add": replies.own_headers(),
        "typed_per_filter_config": _UNASKED,
    }


def _set(key: str, value: str) -> dict[str, Any]:
    return {"header": {"key": key, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
