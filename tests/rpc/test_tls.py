"""TLS at the port: which versions, and new certificates without a restart."""

import asyncio
import datetime
import socket
import ssl
import warnings
from collections.abc import AsyncIterator
from pathlib import Path

import grpc.aio
import pytest
from cryptography import x509
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from authsvc.app.certificates import Certificates
from authsvc.outside import wall_clock
from authsvc.settings.certificate_files import CertificatesUnusable
from authsvc.stores.embedded import EmbeddedValkey
from authsvc.v1 import auth_service_pb2, auth_service_pb2_grpc
from tests.parts.authority import Authority, Signed, server_names, uri
from tests.parts.service import outcome
from tests.parts.tls_service import TlsService, run_tls_service
from tests.parts.valkey import until

_HOUR = datetime.timedelta(hours=1)
_SECOND = datetime.timedelta(seconds=1)


@pytest.fixture
async def tls(tmp_path: Path, sqlite_url: str, valkey: EmbeddedValkey) -> AsyncIterator[TlsService]:
    """An instance that speaks TLS, and asks for clients' certificates at its second port."""
    async with run_tls_service(tmp_path, sqlite_url, valkey.url) as running:
        yield running


async def serial_shown(service: TlsService) -> int:
    """The serial number of the certificate that a new connection is shown."""
    pem = await asyncio.to_thread(ssl.get_server_certificate, ("127.0.0.1", service.app.port))
    return x509.load_pem_x509_certificate(pem.encode()).serial_number


def serial_of(signed: Signed) -> int:
    """The serial number of a certificate."""
    return x509.load_pem_x509_certificate(signed.chain).serial_number


def problem(service: TlsService) -> float | None:
    """What the metric says about the files."""
    return service.app.metrics.get_sample_value("authsvc_tls_certificate_problem")


async def keys_come(channel: grpc.aio.Channel) -> str:
    """How a call that anybody may make ends."""
    stub = auth_service_pb2_grpc.AuthServiceStub(channel)
    return await outcome(stub.GetKeySet(auth_service_pb2.GetKeySetRequest(), timeout=5))


def handshake(port: int, version: ssl.TLSVersion) -> str | None:
    """The version agreed upon by a client that speaks one version only, however weak."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    context.set_alpn_protocols(["h2"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # that they are old is the point
        context.minimum_version = context.maximum_version = version
    with (
        socket.create_connection(("127.0.0.1", port), 5) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as wrapped,
    ):
        return wrapped.version()


async def test_old_versions_are_refused(tls: TlsService) -> None:
    """TLS 1.2 and 1.3 are spoken; 1.1 and 1.0 are not. (gRPC itself sees to that: this is watched, not made.)"""
    port = tls.app.port

    assert await asyncio.to_thread(handshake, port, ssl.TLSVersion.TLSv1_2) == "TLSv1.2"
    assert await asyncio.to_thread(handshake, port, ssl.TLSVersion.TLSv1_3) == "TLSv1.3"
    for old in (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1):
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await asyncio.to_thread(handshake, port, old)


async def test_plaintext_is_refused(tls: TlsService) -> None:
    """Where TLS is spoken, nobody is heard in the clear."""
    async with grpc.aio.insecure_channel(f"127.0.0.1:{tls.app.port}") as channel:
        stub = auth_service_pb2_grpc.AuthServiceStub(channel)

        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub.GetKeySet(auth_service_pb2.GetKeySetRequest(), timeout=2)

    assert refused.value.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)


async def test_a_new_certificate_needs_no_restart(tls: TlsService) -> None:
    """New connections are shown the new certificate within seconds; connections of before go on."""
    before = await serial_shown(tls)
    assert await keys_come(tls.channel) == "OK"
    new = tls.servers.sign(*server_names(), expires_in=_HOUR)

    new.write(tls.files[0].parent, "server")

    async def is_new() -> bool:
        return await serial_shown(tls) == serial_of(new)

    await until(is_new, within_s=20)
    assert before != serial_of(new)
    assert await keys_come(tls.channel) == "OK"
    async with tls.connect() as channel:
        assert await keys_come(channel) == "OK"
    expires_in = tls.app.metrics.get_sample_value("authsvc_tls_certificate_expire_time_seconds")
    assert expires_in is not None
    assert expires_in - wall_clock() / 1000 == pytest.approx(3600, abs=120)


def _half(service: TlsService) -> None:
    file = service.files[0]
    file.write_bytes(file.read_bytes()[:300])


def _whole_and_half(service: TlsService) -> None:
    file = service.files[0]
    file.write_bytes(file.read_bytes()[:-100])


def _no_key(service: TlsService) -> None:
    service.files[1].write_text("")


def _missing(service: TlsService) -> None:
    service.files[1].unlink()


def _another_key(service: TlsService) -> None:
    service.files[1].write_bytes(service.servers.sign(*server_names()).key)


def _expired(service: TlsService) -> None:
    service.servers.sign(*server_names(), expires_in=-_SECOND).write(service.files[0].parent, "server")


def _not_yet(service: TlsService) -> None:
    future = service.servers.sign(*server_names(), begins_in=_HOUR, expires_in=30 * _HOUR)
    future.write(service.files[0].parent, "server")


def _no_authority(service: TlsService) -> None:
    (service.files[0].parent / "clients.pem").write_text("-----BEGIN CERTIFICATE-----\nhalf")


@pytest.mark.parametrize(
    "spoil",
    [_half, _whole_and_half, _no_key, _missing, _another_key, _expired, _not_yet, _no_authority],
    ids=lambda spoil: spoil.__name__.strip("_"),
)
async def test_bad_files_change_nothing(tls: TlsService, spoil: object) -> None:
    """Files that cannot be used leave the last good ones in force; metric and log say so, and the former when it is
    over. (Guard: the checks in `Certificates._read` and `read_pair`; the log, once: `_complain`.)"""
    assert callable(spoil)
    assert tls.app.certificates is not None
    before = await serial_shown(tls)
    good = [(file, file.read_bytes()) for file in tls.files[0].parent.glob("*.[pk]e[my]")]
    spoil(tls)

    with capture_logs() as logs:
        looks = [await tls.app.certificates.look() for _ in range(4)]

    complaints = [entry for entry in logs if "the TLS files cannot be used" in entry["event"]]
    assert looks == [False] * 4
    assert problem(tls) == 1
    assert [entry["log_level"] for entry in complaints] == ["error"]
    assert await serial_shown(tls) == before
    async with tls.connect() as channel:
        assert await keys_come(channel) == "OK"
    for file, content in good:
        file.write_bytes(content)
    await tls.app.certificates.look()
    assert problem(tls) == 0


async def test_a_moment_between_two_files_is_no_alarm(tmp_path: Path) -> None:
    """A certificate replaced a moment before its key is complained about only if that is all that comes."""
    authority = Authority()
    files = authority.sign(*server_names()).write(tmp_path)
    certificates = Certificates(files, None, wall_clock, CollectorRegistry())
    new = authority.sign(*server_names())

    with capture_logs() as logs:
        files[0].write_bytes(new.chain)
        first = await certificates.look()
        files[1].write_bytes(new.key)
        second = await certificates.look()

    assert (first, second) == (False, True)
    assert not [entry for entry in logs if entry["log_level"] == "error"]


async def test_a_certificate_that_runs_out_is_an_alarm(tls: TlsService) -> None:
    """A certificate that nobody has replaced in time stays in force, for want of a better one, and is complained
    about."""
    assert tls.app.certificates is not None
    tls.clock.move(2 * 24 * 3600 * 1000)

    with capture_logs() as logs:
        for _ in range(2):
            await tls.app.certificates.look()

    assert problem(tls) == 1
    assert [entry for entry in logs if entry["log_level"] == "error"]


async def test_new_authorities_need_no_restart(tls: TlsService) -> None:
    """Clients with certificates of a new authority are let in, and those of the old one no more."""
    assert tls.app.certificates is not None
    new = Authority("New clients")
    old_client, new_client = tls.clients.sign(uri("spiffe://shop/a")), new.sign(uri("spiffe://shop/a"))
    async with tls.connect(old_client, mtls=True) as channel:
        assert await keys_come(channel) == "OK"

    new.write(tls.files[0].parent, "clients")
    await tls.app.certificates.look()

    async with tls.connect(new_client, mtls=True) as channel:
        assert await keys_come(channel) == "OK"
    async with tls.connect(old_client, mtls=True) as channel:
        stub = auth_service_pb2_grpc.AuthServiceStub(channel)
        with pytest.raises(grpc.aio.AioRpcError):
            await stub.GetKeySet(auth_service_pb2.GetKeySetRequest(), timeout=2)


@pytest.mark.parametrize(("begins_in", "expires_in"), [(-_HOUR, -_SECOND), (_HOUR, 30 * _HOUR)])
def test_nothing_starts_with_a_bad_certificate(
    tmp_path: Path, begins_in: datetime.timedelta, expires_in: datetime.timedelta
) -> None:
    """There is no last good certificate at the start: one that is not good now is refused."""
    files = Authority().sign(*server_names(), begins_in=begins_in, expires_in=expires_in).write(tmp_path)

    with pytest.raises(CertificatesUnusable, match="expired, or is not good yet"):
        Certificates(files, None, wall_clock, CollectorRegistry())
