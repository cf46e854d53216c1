"""Owns the settings of the administration commands. Leaves what they do to `authsvc.commands`."""

from pathlib import Path

from pydantic import Field, SecretStr, ValidationInfo, field_validator

from authsvc.settings.certificate_files import read_pair
from authsvc.settings.given import PREFIX, Given
from authsvc.settings.kinds import Listen, ReadableFile
from authsvc.settings.signing import SecretSettings
from authsvc.settings.stores import DatabaseSettings
from authsvc.settings.transport import DEFAULT_LISTEN, is_local_address


class OfflineSettings(SecretSettings, DatabaseSettings):
    """What administration without a running server needs."""


class AdminSettings(Given):
    """What the administration commands need to reach a server."""

    address: str = ""
    """Empty: the server that the same environment starts, see `listen`."""
    listen: Listen = DEFAULT_LISTEN
    client_key: SecretStr = SecretStr("")
    tls_ca_file: ReadableFile | None = None
    tls_cert_file: Path | None = None
    """Certificate of the server itself: what `authsvc health` beside a server trusts, if no authority is given."""
    tls_client_cert_file: ReadableFile | None = None
    tls_client_key_file: ReadableFile | None = Field(default=None, validate_default=True)
    """A certificate of our own, with its key, where the server asks for one; it may stand for the client key."""
    plaintext: bool = False

    @field_validator("tls_client_key_file")
    @classmethod
    def _check_client_pair(cls, key: Path | None, info: ValidationInfo) -> Path | None:
        cert = info.data.get("tls_client_cert_file")
        if bool(cert) != bool(key):
            raise ValueError(
                f"{PREFIX}TLS_CLIENT_CERT_FILE and {PREFIX}TLS_CLIENT_KEY_FILE must be given together"
            )
        if cert is not None and key is not None:
            read_pair(cert, key)
        return key

    @field_validator("plaintext")
    @classmethod
    def _check_plaintext(cls, plaintext: bool, info: ValidationInfo) -> bool:
        if plaintext and not is_local_address(
            info.data["address"] or info.data.get("listen", DEFAULT_LISTEN)
        ):
            raise ValueError(f"plaintext needs an {PREFIX}ADDRESS on loopback or a Unix socket")
        return plaintext

    @property
    def target(self) -> str:
        """Where to call: `address`, else where the server of this environment listens, from this machine."""
        return self.address or self.listen.replace("0.0.0.0:", "127.0.0.1:").replace("[::]:", "[::1]:")
