"""Owns the settings of the listener for HTTP. Leaves answering there to `authsvc.http`."""

from pydantic import Field, ValidationInfo, field_validator

from authsvc.settings.given import PREFIX
from authsvc.settings.kinds import ListenOrNot
from authsvc.settings.transport import TransportSettings, is_local_address


class HttpSettings(TransportSettings):
    """Where pages, keys and proxies are answered, with the certificate of the other port."""

    http_listen: ListenOrNot = Field(default="", validate_default=True)
    """Empty: nowhere."""

    @field_validator("http_listen")
    @classmethod
    def _check_http_listen(cls, listen: str, info: ValidationInfo) -> str:
        if listen and info.data.get("tls_cert_file", "wrong") is None and not is_local_address(listen):
            raise ValueError(
                f"must be on loopback or a Unix socket, or {PREFIX}TLS_CERT_FILE given: session cookies come there"
            )
        return listen
