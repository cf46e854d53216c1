"""Owns the whole of Envoy's configuration, joined from its parts."""

from typing import Any

from authsvc.edge.asked import Edge
from authsvc.edge.clusters import clusters, secrets
from authsvc.edge.listener import listener

_CONNECTIONS_MAX = 20_000


def bootstrap(edge: Edge) -> dict[str, Any]:
    """Return the configuration that Envoy starts with."""
    return {
        "node": {"id": "edge", "cluster": "edge"},
        "static_resources": {
            "listeners": [listener(edge)],
            "clusters": clusters(edge),
            "secrets": secrets(edge),
        },
        "overload_manager": {"resource_monitors": [_connections()]},
    }


def _connections() -> dict[str, Any]:
    return {
        "name": "envoy.resource_monitors.global_downstream_max_connections",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.resource_monitors.downstream_connections.v3."
            "DownstreamConnectionsConfig",
            "max_active_downstream_connections": _CONNECTIONS_MAX,
        },
    }
