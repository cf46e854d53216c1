"""Owns reaching a server: where it is, how it proves itself, as whom we call. Leaves what is asked to each command.

TLS unless plaintext was asked for, and that only on this machine: a client key must not cross a network in the clear.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import grpc
from cryptography import x509

from authsvc.commands import refusal
from authsvc.commands.failure import WRONG_USE, CommandFailed
from authsvc.config import SettingsWrong, read_admin_settings
from authsvc.settings import AdminSettings, is_local_address
from authsvc.v1.admin_service_pb2_grpc import AdminServiceStub
from authsvc.v1.auth_service_pb2_grpc import AuthServiceStub

_TIMEOUT_S = 15.0
_Request = TypeVar("_Request")
_Response = TypeVar("_Response")
_Settings = TypeVar("_Settings")


@dataclass(frozen=True, slots=True)
class Place:
    """A server: its address, what it is trusted by (None: plaintext), and what to call with: a client key, or a
    certificate, which the credentials hold."""

    address: str
    trust: grpc.ChannelCredentials | None
    server_name: str = ""
    key: str = field(default="", repr=False)
    has_certificate: bool = False


class Server:
    """A server that is called as an administrator."""

    def __init__(self, place: Place, channel: grpc.Channel) -> None:
        self.admin = AdminServiceStub(channel)
        self.auth = AuthServiceStub(channel)
        self._place = place

    def call(
        self, method: "grpc.UnaryUnaryMultiCallable[_Request, _Response]", request: _Request
    ) -> _Response:
        """Return the answer. Raises CommandFailed."""
        metadata = (("authorization", f"Bearer {self._place.key}"),) if self._place.key else ()
        try:
            return method(request, metadata=metadata, timeout=_TIMEOUT_S)
        except grpc.RpcError as error:
            raise refusal.of_call(error, self._place.address) from None


@contextmanager
def open_server(dev: Path | None) -> Iterator[Server]:
    """Connect to the server of a development directory, or the one that the settings name. Raises CommandFailed."""
    place = find(dev)
    if not (place.key or place.has_certificate):
        raise CommandFailed(
            "AUTHSVC_CLIENT_KEY_FILE is missing: name the file of a client key with `admin`, or a certificate in "
            "AUTHSVC_TLS_CLIENT_CERT_FILE",
            WRONG_USE,
        )
    with open_channel(place) as channel:
        yield Server(place, channel)


def open_channel(place: Place) -> grpc.Channel:
    """Return a channel to the place; nothing is connected before the first call."""
    options: list[tuple[str, str | int]] = []
    if is_local_address(place.address):
        options.append(("grpc.enable_http_proxy", 0))  # a proxy for the outside leads away from this machine
    if place.trust is None:
        return grpc.insecure_channel(place.address, options)
    if place.server_name:
        options.append(("grpc.ssl_target_name_override", place.server_name))
    return grpc.secure_channel(place.address, place.trust, options)


def find(dev: Path | None) -> Place:
    """Return where the server is. Raises CommandFailed."""
    if dev is not None:
        return _in_development(dev / "dev.json")
    settings = read(read_admin_settings)
    key = settings.client_key.get_secret_value()
    if settings.plaintext:
        return Place(settings.target, None, key=key)
    trust, server_name = _trust(settings)
    return Place(settings.target, trust, server_name, key, settings.tls_client_cert_file is not None)


def read(reader: Callable[[], _Settings]) -> _Settings:
    """Return settings from the environment. Raises CommandFailed with all that is wrong with them."""
    try:
        return reader()
    except SettingsWrong as error:
        raise CommandFailed(str(error), WRONG_USE) from None


def _in_development(file: Path) -> Place:
    try:
        found = json.loads(file.read_text())
        place = Place(str(found["address"]), None, key=str(found["admin_key"]))
    except (OSError, ValueError, KeyError, TypeError):
        raise CommandFailed(f"cannot read {file}: is `authsvc dev` running there?", WRONG_USE) from None
    if not is_local_address(place.address):
        raise CommandFailed(f"{file} names an address that is not on this machine", WRONG_USE)
    return place


def _trust(settings: AdminSettings) -> tuple[grpc.ChannelCredentials, str]:
    """What the server must prove itself by, and under which name (empty: that of the address).

    Beside a server, in its own environment, that is its very certificate, whatever name that is for.
    """
    own = _own_pair(settings)
    if settings.tls_ca_file is not None:
        return grpc.ssl_channel_credentials(settings.tls_ca_file.read_bytes(), *own), ""
    if settings.address or settings.tls_cert_file is None:
        return grpc.ssl_channel_credentials(None, *own), ""
    try:
        pem = settings.tls_cert_file.read_bytes()
        return grpc.ssl_channel_credentials(pem, *own), _first_name(pem)
    except (OSError, ValueError):
        raise CommandFailed(
            f"AUTHSVC_TLS_CERT_FILE: cannot read {settings.tls_cert_file}", WRONG_USE
        ) from None


def _own_pair(settings: AdminSettings) -> tuple[bytes, bytes] | tuple[None, None]:
    """The key and the certificate to call with, if there are such."""
    cert, key = settings.tls_client_cert_file, settings.tls_client_key_file
    return (None, None) if cert is None or key is None else (key.read_bytes(), cert.read_bytes())


def _first_name(pem: bytes) -> str:
    certificate = x509.load_pem_x509_certificate(pem)
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ""
    found = names.get_values_for_type(x509.DNSName)
    return found[0].replace("*.", "any.", 1) if found else ""
