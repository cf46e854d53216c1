"""Owns what stands behind the edge: the server, twice, the pages, and the services. Leaves who may come to `routes`."""

from typing import Any

from authsvc.edge.asked import Edge, Endpoint, ServiceRoute

SERVER = "authsvc"
SERVER_AS_EDGE = "authsvc_as_edge"
PAGES = "authsvc_pages"
KEY = "edge_key"
_HTTP = "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_CONNECT_TIMEOUT = "1s"
# More than these at once wait nowhere: they are refused.
_LIMITS = {"max_connections": 1024, "max_pending_requests": 1024, "max_requests": 2048, "max_retries": 3}


def clusters(edge: Edge) -> list[dict[str, Any]]:
    """Return every cluster. Only calls through SERVER_AS_EDGE carry the edge's own client key."""
    found = [_cluster(SERVER, edge.server), _cluster(SERVER_AS_EDGE, edge.server, _key_injection())]
    if edge.pages is not None:
        found.append(_cluster(PAGES, edge.pages))
    return found + [_cluster(name, endpoint) for name, endpoint in _services(edge.services).items()]


def secrets(edge: Edge) -> list[dict[str, Any]]:
    """Return the secrets, by the files that they are in."""
    return [{"name": KEY, "generic_secret": {"secret": {"filename": str(edge.key_file)}}}]


def address(endpoint: Endpoint) -> dict[str, Any]:
    """Return the address of an endpoint, to connect to or to listen at."""
    if endpoint.host.startswith("unix:"):
        return {"pipe": {"path": endpoint.host.removeprefix("unix:")}}
    return {"socket_address": {"address": endpoint.host, "port_value": endpoint.port}}


def _services(routes: tuple[ServiceRoute, ...]) -> dict[str, Endpoint]:
    return {route.name: route.endpoint for route in routes}


def _cluster(name: str, endpoint: Endpoint, injection: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    protocol = "http2_protocol_options" if endpoint.http2 else "http_protocol_options"
    options: dict[str, Any] = {"@type": _HTTP, "explicit_http_config": {protocol: _protocol(endpoint.http2)}}
    if injection:
        options["http_filters"] = injection
    cluster: dict[str, Any] = {
        "name": name,
        **_finding(endpoint),
        "connect_timeout": _CONNECT_TIMEOUT,
        "circuit_breakers": {"thresholds": [_LIMITS]},
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": options
        },
        "load_assignment": _assignment(name, endpoint),
    }
    if endpoint.ca_file is not None:
        cluster["transport_socket"] = _tls(endpoint)
    return cluster


def _finding(endpoint: Endpoint) -> dict[str, Any]:
    if endpoint.host.startswith("unix:"):
        return {"type": "STATIC"}
    return {"type": "STRICT_DNS", "dns_lookup_family": "ALL"}


def _protocol(http2: bool) -> dict[str, Any]:
    # A server that has gone without a word is noticed within seconds.
    return {"connection_keepalive": {"interval": "15s", "timeout": "5s"}} if http2 else {}


def _assignment(name: str, endpoint: Endpoint) -> dict[str, Any]:
    at = {"endpoint": {"address": address(endpoint)}}
    return {"cluster_name": name, "endpoints": [{"lb_endpoints": [at]}]}


def _tls(endpoint: Endpoint) -> dict[str, Any]:
    validation = {
        "trusted_ca": {"filename": str(endpoint.ca_file)},
        "match_typed_subject_alt_names": [
            {"san_type": kind, "matcher": {"exact": endpoint.host}} for kind in ("DNS", "IP_ADDRESS")
        ],
    }
    return {
        "name": "envoy.transport_sockets.tls",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
            "sni": endpoint.host,
            "common_tls_context": {
                "alpn_protocols": ["h2" if endpoint.http2 else "http/1.1"],
                "validation_context": validation,
            },
        },
    }


def _key_injection() -> list[dict[str, Any]]:
    """The edge's key, put on each call on its way to the server: no browser has it, and none can replace it."""
    credential = {
        "@type": "type.googleapis.com/envoy.extensions.http.injected_credentials.generic.v3.Generic",
        "credential": {"name": KEY},
        "header_value_prefix": "Bearer ",
    }
    return [
        {
            "name": "envoy.filters.http.credential_injector",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.http.credential_injector.v3.CredentialInjector",
                "overwrite": True,
                "credential": {"name": "envoy.http.injected_credentials.generic", "typed_config": credential},
            },
        },
        {
            "name": "envoy.filters.http.upstream_codec",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.http.upstream_codec.v3.UpstreamCodec"
            },
        },
    ]
