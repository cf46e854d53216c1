"""Bearers stay off plaintext channels to other hosts, whoever opened the channel."""

import asyncio
import datetime
import socket

import grpc
import grpc.aio
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from authsvc_client import (
    AuthClient,
    ClientKey,
    PlaintextRefused,
    SyncAuthClient,
    client_interceptors,
    open_channel,
    open_sync_channel,
    sync_client_interceptors,
)
from tests.client.signing_in.called import SHAPES, Called, call_all, call_all_sync, method

ELSEWHERE = ["auth.example.com:443", "10.0.0.1:1", "dns:///auth.example.com", "ipv4:127.0.0.1:1,10.0.0.1:1"]
HERE = [
    "localhost:1",
    "127.0.0.1:1",
    "127.8.8.8:1",
    "[::1]:1",
    "dns:///localhost:1",
    "ipv6:[::1]:1",
    "unix:/tmp/x",
]


@pytest.mark.parametrize("target", ELSEWHERE)
def test_a_plaintext_channel_elsewhere_is_not_opened(target: str) -> None:
    """Neither a client key nor an access token goes to another host in the clear, unless somebody says so."""
    for refused in (
        lambda: AuthClient(target, issuer="https://a.example", client_key="key"),
        lambda: SyncAuthClient(target, issuer="https://a.example", client_key="key"),
        lambda: open_channel(target, ClientKey("key")),
        lambda: open_sync_channel(target, ClientKey("key")),
    ):
        with pytest.raises(PlaintextRefused):
            refused()

    AuthClient(target, issuer="https://a.example", client_key="key", unsafe_plaintext=True)
    open_sync_channel(target, ClientKey("key"), unsafe_plaintext=True).close()


@pytest.mark.parametrize("target", HERE)
def test_a_plaintext_channel_on_this_host_is_opened(target: str) -> None:
    """Loopback addresses and Unix sockets need no TLS."""
    AuthClient(target, issuer="https://a.example", client_key="key")
    open_sync_channel(target, ClientKey("key")).close()


@pytest.mark.parametrize("shape", SHAPES)
async def test_a_plaintext_channel_opened_elsewhere_gets_no_bearer(called: Called, shape: str) -> None:
    """Interceptors on a plaintext channel that nobody vouched for send nothing at all, in no shape."""
    interceptors = client_interceptors(ClientKey("key"))
    request = iter([b"ask"]) if shape.startswith("Stream") else b"ask"
    async with grpc.aio.insecure_channel(_from_outside(called), interceptors=interceptors) as channel:
        for _ in range(2):
            call = method(channel, shape)(request)
            with pytest.raises(PlaintextRefused):
                await (anext(aiter(call)) if shape.endswith("Stream") else call)

    assert called.seen == []


@pytest.mark.parametrize("shape", SHAPES)
async def test_a_plaintext_channel_opened_elsewhere_gets_no_bearer_from_threads(
    called: Called, shape: str
) -> None:
    """The same for threads, where a stream of requests ends with gRPC's own refusal."""
    interceptors = sync_client_interceptors(ClientKey("key"))

    def use() -> None:
        request = iter([b"ask"]) if shape.startswith("Stream") else b"ask"
        with grpc.insecure_channel(_from_outside(called)) as plain:
            channel = grpc.intercept_channel(plain, *interceptors)
            expected = grpc.RpcError if shape == "StreamStream" else PlaintextRefused
            for _ in range(2):
                with pytest.raises(expected):
                    list(method(channel, shape)(request))

    await asyncio.to_thread(use)
    assert called.seen == []


async def test_the_target_named_must_be_on_this_host(called: Called) -> None:
    """Naming another host's target is no permission."""
    interceptors = client_interceptors(ClientKey("key"), target=_from_outside(called))
    async with grpc.aio.insecure_channel(_from_outside(called), interceptors=interceptors) as channel:
        with pytest.raises(PlaintextRefused):
            await method(channel)(b"ask")

    assert called.seen == []


async def test_whoever_says_so_may(called: Called) -> None:
    """`unsafe_plaintext` sends the bearer over any channel."""
    interceptors = client_interceptors(ClientKey("key"), unsafe_plaintext=True)
    async with grpc.aio.insecure_channel(_from_outside(called), interceptors=interceptors) as channel:
        await call_all(channel)

    assert called.bearers == ["key"] * 4


async def test_over_tls_nothing_has_to_be_said() -> None:
    """On an encrypted channel interceptors find out by themselves that it is one, in every shape."""
    key, certificate = _certificate()
    credentials = grpc.ssl_channel_credentials(certificate)
    async with Called(grpc.ssl_server_credentials([(key, certificate)])) as called:
        interceptors = client_interceptors(ClientKey("one"))
        async with grpc.aio.secure_channel(called.target, credentials, interceptors=interceptors) as channel:
            await call_all(channel)
            await call_all(channel)

        def use() -> None:
            with grpc.secure_channel(called.target, credentials) as plain:
                channel = grpc.intercept_channel(plain, *sync_client_interceptors(ClientKey("two")))
                call_all_sync(channel)
                call_all_sync(channel)

        await asyncio.to_thread(use)

    assert called.bearers == ["one"] * 8 + ["two"] * 8


def _from_outside(called: Called) -> str:
    """This host by an address that is not loopback."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))  # sends nothing
        return f"{probe.getsockname()[0]}:{called.port}"


def _certificate() -> tuple[bytes, bytes]:
    """A key and a certificate for localhost, in PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return private, certificate.public_bytes(serialization.Encoding.PEM)
