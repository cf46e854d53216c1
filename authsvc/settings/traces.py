"""Owns the settings of traces: where to send them, and how many. Leaves making them to `authsvc.app.tracing`."""

from importlib.util import find_spec
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from authsvc.settings.given import Given
from authsvc.settings.transport import is_local_address


class TraceSettings(Given):
    """An OTLP collector (gRPC), and the share of traces that begin here and are kept; a caller's choice is followed."""

    traces_endpoint: str = ""
    traces_share: float = Field(default=1.0, ge=0, le=1)

    @field_validator("traces_endpoint")
    @classmethod
    def _check_endpoint(cls, endpoint: str) -> str:
        if not endpoint:
            return endpoint
        url = urlsplit(endpoint)
        if url.scheme not in ("http", "https") or not url.hostname or url.port is None:
            raise ValueError("must be a URL with a port, such as https://collector:4317")
        if url.scheme == "http" and not is_local_address(url.netloc):
            raise ValueError("must be https:// for a collector on another machine")
        if find_spec("opentelemetry") is None or find_spec("opentelemetry.sdk") is None:
            raise ValueError("needs opentelemetry: pip install 'authsvc[tracing]'")
        return endpoint
