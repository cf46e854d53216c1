"""Owns the port: TLS, limits, and the filters that a request passes, in order. Leaves routes to `routes`."""

import base64
from typing import Any

from authsvc.edge import clusters, replies, routes
from authsvc.edge.asked import Edge
from authsvc.edge.descriptors import descriptor_set

_EXTENSIONS = "type.googleapis.com/envoy.extensions"
_FILTERS = f"{_EXTENSIONS}.filters.http"
# Of a JSON request. The server takes messages of 64 KiB.
_BODY_MAX = 60 * 1024
_HEADERS_MAX_KB = 32


def listener(edge: Edge) -> dict[str, Any]:
    """Return the one listener."""
    chain: dict[str, Any] = {
        "filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": _manager(edge)}]
    }
    if edge.certificate is not None:
        chain["transport_socket"] = _tls(*map(str, edge.certificate))
    return {
        "name": "edge",
        "address": clusters.address(edge.listen),
        "per_connection_buffer_limit_bytes": 64 * 1024,
        "filter_chains": [chain],
    }


def _manager(edge: Edge) -> dict[str, Any]:
    return {
        "@type": f"{_EXTENSIONS}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "edge",
        "codec_type": "AUTO",
        "server_header_transformation": "PASS_THROUGH",
        **_LIMITS,
        **_PATHS,
        "xff_num_trusted_hops": edge.trusted_hops,
        "early_header_mutation_extensions": [_strip()],
        "access_log": [_access_log()],
        "local_reply_config": replies.local_replies(),
        "http_filters": _filters(edge),
        "route_config": _route_config(edge),
    }


_LIMITS: dict[str, Any] = {
    "max_request_headers_kb": _HEADERS_MAX_KB,
    "request_headers_timeout": "10s",
    "stream_idle_timeout": "300s",
    "delayed_close_timeout": "1s",
    "drain_timeout": "10s",
    "common_http_protocol_options": {
        "idle_timeout": "300s",
        "max_headers_count": 100,
        "headers_with_underscores_action": "REJECT_REQUEST",
    },
    "http2_protocol_options": {
        "max_concurrent_streams": 100,
        "initial_stream_window_size": 65536,
        "initial_connection_window_size": 1048576,
    },
}
# Everybody behind must see the path that the routes were chosen by.
_PATHS: dict[str, Any] = {
    "normalize_path": True,
    "merge_slashes": True,
    "path_with_escaped_slashes_action": "REJECT_REQUEST",
    "use_remote_address": True,
    "generate_request_id": True,
}


def _strip() -> dict[str, Any]:
    """Nobody outside says what only the edge may say."""
    return {
        "name": "envoy.http.early_header_mutation.header_mutation",
        "typed_config": {
            "@type": f"{_EXTENSIONS}.http.early_header_mutation.header_mutation.v3.HeaderMutation",
            "mutations": [
                {"remove_on_match": {"key_matcher": {"prefix": "x-authsvc-", "ignore_case": True}}}
            ],
        },
    }


def _filters(edge: Edge) -> list[dict[str, Any]]:
    return [
        _filter(routes.CORS, "cors.v3.Cors"),
        _filter("envoy.filters.http.grpc_web", "grpc_web.v3.GrpcWeb"),
        _filter(routes.ASK, "ext_authz.v3.ExtAuthz", _ask()),
        # Off but on the routes that put them to work.
        {**_filter(routes.OWN_COOKIES, "lua.v3.Lua", _own_cookies()), "disabled": True},
        {
            **_filter(routes.BUFFER, "buffer.v3.Buffer", {"max_request_bytes": _BODY_MAX}),
            "disabled": True,
        },
        {
            **_filter(routes.JSON, "grpc_json_transcoder.v3.GrpcJsonTranscoder", _transcoder(edge)),
            "disabled": True,
        },
        _filter("envoy.filters.http.router", "router.v3.Router", {"suppress_envoy_headers": True}),
    ]


def _filter(name: str, kind: str, settings: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"name": name, "typed_config": {"@type": f"{_FILTERS}.{kind}", **(settings or {})}}


def _ask() -> dict[str, Any]:
    """Ask the server about each request. No answer is no entry."""
    return {
        "transport_api_version": "V3",
        "grpc_service": {"envoy_grpc": {"cluster_name": clusters.SERVER_AS_EDGE}, "timeout": "2s"},
        "failure_mode_allow": False,
        "status_on_error": {"code": "ServiceUnavailable"},
        "validate_mutations": True,
        "clear_route_cache": False,
    }


def _own_cookies() -> dict[str, Any]:
    """What goes to the server leaves the cookies of others behind: they are none of its business, and may be large."""
    # By now gRPC-Web looks like gRPC, which has a route of its own: the one that was chosen stays.
    return {"default_source_code": {"inline_string": _OWN_COOKIES}, "clear_route_cache": False}


# Every cookie that might be meant for ours stays, those too that differ in case: the server judges them.
_OWN_COOKIES = """function envoy_on_request(handle)
  local headers, kept = handle:headers(), {}
  for pair in string.gmatch(headers:get("cookie") or "", "[^;]+") do
    if string.find(string.lower(pair), "authsvc_", 1, true) then
      table.insert(kept, (string.gsub(pair, "^%s+", "")))
    end
  end
  headers:remove("cookie")
  if #kept > 0 then
    headers:add("cookie", table.concat(kept, "; "))
  end
end
"""


def _transcoder(edge: Edge) -> dict[str, Any]:
    """JSON in and out, as google.api.http in the contract says."""
    if edge.descriptors is None:
        contract = {"proto_descriptor_bin": base64.b64encode(descriptor_set()).decode()}
    else:
        contract = {"proto_descriptor": str(edge.descriptors)}
    return {
        **contract,
        "services": ["authsvc.v1.AuthService"],
        "match_incoming_request_route": True,
        "convert_grpc_status": True,
        "auto_mapping": False,
        "print_options": {"add_whitespace": False, "always_print_primitive_fields": False},
        "request_validation_options": {
            "reject_unknown_method": True,
            "reject_unknown_query_parameters": True,
        },
    }


def _route_config(edge: Edge) -> dict[str, Any]:
    host = {
        "name": "edge",
        "domains": ["*"],
        "typed_per_filter_config": {routes.CORS: _cors(edge.origins)},
        "routes": routes.routes(edge),
    }
    return {
        "name": "edge",
        "response_headers_to_add": replies.headers(),
        "most_specific_header_mutations_wins": True,
        "virtual_hosts": [host],
    }


def _cors(origins: tuple[str, ...]) -> dict[str, Any]:
    return {
        "@type": f"{_FILTERS}.cors.v3.CorsPolicy",
        "allow_origin_string_match": [{"exact": origin} for origin in origins],
        "allow_methods": "GET, POST, PUT, PATCH, DELETE",
        "allow_headers": "authorization, content-type, x-grpc-web, x-user-agent, grpc-timeout",
        "expose_headers": "grpc-status, grpc-message, grpc-status-details-bin, retry-after",
        "allow_credentials": True,
        "max_age": "600",
        "forward_not_matching_preflights": False,
    }


def _access_log() -> dict[str, Any]:
    """One line a request. Never a query, a cookie or any other header that may hold a token."""
    line = {
        "time": "%START_TIME%",
        "method": "%REQ(:METHOD)%",
        "path": "%PATH(NQ)%",
        "status": "%RESPONSE_CODE%",
        "grpc_status": "%GRPC_STATUS%",
        "flags": "%RESPONSE_FLAGS%",
        "ms": "%DURATION%",
        "received": "%BYTES_RECEIVED%",
        "sent": "%BYTES_SENT%",
        "from": "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%",
        "to": "%UPSTREAM_CLUSTER%",
        "request_id": "%REQ(X-REQUEST-ID)%",
    }
    return {
        "name": "envoy.access_loggers.stdout",
        "typed_config": {
            "@type": f"{_EXTENSIONS}.access_loggers.stream.v3.StdoutAccessLog",
            "log_format": {"json_format": line},
        },
    }


def _tls(certificate: str, key: str) -> dict[str, Any]:
    return {
        "name": "envoy.transport_sockets.tls",
        "typed_config": {
            "@type": f"{_EXTENSIONS}.transport_sockets.tls.v3.DownstreamTlsContext",
            "common_tls_context": {
                "alpn_protocols": ["h2", "http/1.1"],
                "tls_params": {"tls_minimum_protocol_version": "TLSv1_2"},
                "tls_certificates": [
                    {"certificate_chain": {"filename": certificate}, "private_key": {"filename": key}}
                ],
            },
        },
    }
