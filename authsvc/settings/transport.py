"""Owns the settings of the port: where to listen, with which certificates. Leaves opening it to `authsvc.app`."""

import ipaddress
from pathlib import Path

from pydantic import Field, ValidationInfo, field_validator

from authsvc.settings.certificate_files import CertificatesUnusable, read_pair
from authsvc.settings.given import PREFIX, Given
from authsvc.settings.kinds import AuthoritiesFile, Listen, ListenOrNot, MetricsListen, ReadableFile

DEFAULT_LISTEN = "127.0.0.1:50051"


class TransportSettings(Given):
    """How callers reach the server."""

    listen: Listen = DEFAULT_LISTEN
    tls_cert_file: ReadableFile | None = None
    tls_key_file: ReadableFile | None = None
    tls_client_ca_file: AuthoritiesFile | None = Field(default=None, validate_default=True)
    """Whom the certificates of clients must come from; None: no client is asked for one."""
    mtls_listen: ListenOrNot = Field(default="", validate_default=True)
    """Where clients must show a certificate; empty: at `listen`, if there is a `tls_client_ca_file`."""
    plaintext: bool = Field(default=False, validate_default=True)
    metrics_listen: MetricsListen = ""

    # A field that is wrong itself is absent from `info.data`; then what it takes part in is not judged.

    @field_validator("plaintext")
    @classmethod
    def _check_transport(cls, plaintext: bool, info: ValidationInfo) -> bool:
        """Judge listen, tls_cert_file, tls_key_file and plaintext together."""
        if not {"listen", "tls_cert_file", "tls_key_file"} <= info.data.keys():
            return plaintext
        cert, key = info.data["tls_cert_file"], info.data["tls_key_file"]
        if bool(cert) != bool(key):
            raise ValueError(f"{PREFIX}TLS_CERT_FILE and {PREFIX}TLS_KEY_FILE must be given together")
        if cert is not None:
            try:
                read_pair(cert, key)
            except CertificatesUnusable as error:
                raise ValueError(f"{PREFIX}TLS_CERT_FILE and {PREFIX}TLS_KEY_FILE: {error}") from None
        elif not (plaintext and is_local_address(info.data["listen"])):
            raise ValueError(
                f"{PREFIX}TLS_CERT_FILE is missing; plaintext needs {PREFIX}PLAINTEXT=true and a {PREFIX}LISTEN "
                "on loopback or a Unix socket"
            )
        return plaintext

    @field_validator("tls_client_ca_file")
    @classmethod
    def _check_client_ca(cls, authorities: Path | None, info: ValidationInfo) -> Path | None:
        if authorities is not None and info.data.get("tls_cert_file", "wrong") is None:
            raise ValueError(f"needs {PREFIX}TLS_CERT_FILE: without TLS nobody has a certificate")
        return authorities

    @field_validator("mtls_listen")
    @classmethod
    def _check_mtls_listen(cls, listen: str, info: ValidationInfo) -> str:
        if listen and info.data.get("tls_client_ca_file", "wrong") is None:
            raise ValueError(f"needs {PREFIX}TLS_CLIENT_CA_FILE: whom the certificates there must come from")
        if listen == info.data.get("listen") and not listen.endswith(":0"):
            raise ValueError(f"must be another address than {PREFIX}LISTEN")
        return listen

    @property
    def certificates(self) -> tuple[Path, Path] | None:
        """The certificate with its chain, and its key; None: in the clear."""
        cert, key = self.tls_cert_file, self.tls_key_file
        return None if cert is None or key is None else (cert, key)

    @property
    def metrics_address(self) -> tuple[str, int] | None:
        """Host and port to show metrics on; None: nowhere."""
        host, _, port = self.metrics_listen.rpartition(":")
        return (host.strip("[]") or "127.0.0.1", int(port)) if port else None


def is_local_address(listen: str) -> bool:
    """Whether an address to listen on, or to call, is on this machine only."""
    if listen.startswith("unix:"):
        return True
    host = listen.rpartition(":")[0].strip("[]")
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
