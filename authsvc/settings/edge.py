"""Owns the settings of the edge. Leaves what Envoy makes of them to `authsvc.edge`."""

import ssl
from pathlib import Path

from pydantic import Field, ValidationInfo, field_validator

from authsvc.edge.asked import Edge, Endpoint, read_endpoint, read_service
from authsvc.settings.administration import AdminSettings
from authsvc.settings.given import PREFIX
from authsvc.settings.kinds import Issuer, Listen, ReadableFile
from authsvc.settings.transport import is_local_address
from authsvc.settings.web import WebSettings


class EdgeSettings(AdminSettings, WebSettings):
    """Where the edge listens, what stands behind it, and as whom it calls the server."""

    issuer: Issuer
    edge_listen: Listen = "127.0.0.1:8443"
    edge_tls_cert_file: ReadableFile | None = None
    edge_tls_key_file: ReadableFile | None = Field(default=None, validate_default=True)
    edge_key_file: ReadableFile
    """Holds the edge's client key; Envoy reads it, and nobody else."""
    edge_trusted_hops: int = Field(default=0, ge=0, le=8)
    """How many proxies of yours are before the edge."""
    edge_http_address: str = ""
    """Where the server answers HTTP; empty: no pages."""
    edge_routes: str = Field(default="", validate_default=True)
    """Services, separated by white space, as `authsvc.edge.asked` reads them."""

    @field_validator("edge_tls_key_file")
    @classmethod
    def _check_certificate(cls, key: Path | None, info: ValidationInfo) -> Path | None:
        if {"edge_listen", "edge_tls_cert_file"} <= info.data.keys():
            certificate = info.data["edge_tls_cert_file"]
            if bool(certificate) != bool(key):
                raise ValueError(
                    f"{PREFIX}EDGE_TLS_CERT_FILE and {PREFIX}EDGE_TLS_KEY_FILE must be given together"
                )
            if certificate is None and not is_local_address(info.data["edge_listen"]):
                raise ValueError(f"{PREFIX}EDGE_TLS_CERT_FILE is missing; without it only on loopback")
        return key

    @field_validator("edge_http_address")
    @classmethod
    def _check_http_address(cls, address: str) -> str:
        if address:
            read_endpoint(address)
        return address

    @field_validator("edge_routes")
    @classmethod
    def _check_routes(cls, routes: str) -> str:
        for route in routes.split():
            read_service(route, Path())
        return routes

    @property
    def edge(self) -> Edge:
        """The edge that is asked for."""
        authorities = (
            self.tls_ca_file or self.tls_cert_file or Path(ssl.get_default_verify_paths().cafile or "")
        )
        trusted = None if self.plaintext else authorities
        certificate, key = self.edge_tls_cert_file, self.edge_tls_key_file
        pages: Endpoint | None = None
        if self.edge_http_address:
            pages = read_endpoint(self.edge_http_address, ca_file=trusted)
        return Edge(
            listen=read_endpoint(self.edge_listen),
            certificate=None if certificate is None or key is None else (certificate, key),
            server=read_endpoint(self.target, http2=True, ca_file=trusted),
            pages=pages,
            key_file=self.edge_key_file,
            origins=self.origins(self.issuer),
            services=tuple(read_service(route, authorities) for route in self.edge_routes.split()),
            trusted_hops=self.edge_trusted_hops,
        )
