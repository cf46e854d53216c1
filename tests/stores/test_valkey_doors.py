"""Other ways in than plain TCP: TLS, which is always verified, and Unix sockets."""

import asyncio
import datetime
import ipaddress
import ssl
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from authsvc.core.contracts import StoreUnavailable
from authsvc.stores.embedded import EmbeddedValkey
from authsvc.stores.valkey import open_cache
from tests.parts.valkey import NOW, hash_of


def certificate(directory: Path, name: str) -> Path:
    """Make a self-signed certificate for 127.0.0.1; the file holds its key too."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    today = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(today - datetime.timedelta(days=1))
        .not_valid_after(today + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    path = directory / f"{name}.pem"
    path.write_bytes(
        made.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return path


async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pass bytes on until either side is gone."""
    with suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


@pytest.fixture
async def tls_door(valkey: EmbeddedValkey, tmp_path: Path) -> AsyncIterator[int]:
    """The port of a TLS door to the server, which cannot speak TLS itself; its certificate is door.pem."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate(tmp_path, "door"))
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", valkey.port)
        tasks.update(
            {asyncio.create_task(copy(inner_reader, writer)), asyncio.create_task(copy(reader, inner_writer))}
        )

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    yield server.sockets[0].getsockname()[1]
    server.close()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_tls_with_a_known_authority(valkey: EmbeddedValkey, tls_door: int, tmp_path: Path) -> None:
    """With the authority given, sessions and hints go over TLS."""
    url = valkey.url.replace("redis://", "rediss://").replace(str(valkey.port), str(tls_door))
    cache = await open_cache(f"{url}?ca_file={tmp_path / 'door.pem'}", epoch=1)

    answer = await cache.sessions.validate(hash_of("unknown"), NOW)
    listener = cache.hints.listen()
    async with asyncio.timeout(2):
        await anext(listener)

    assert answer is None
    await listener.aclose()  # type: ignore[attr-defined]
    await cache.close()


@pytest.mark.parametrize("stranger", [True, False])
async def test_tls_with_an_unknown_authority(
    valkey: EmbeddedValkey, tls_door: int, tmp_path: Path, stranger: bool
) -> None:
    """A server whose certificate no trusted authority signed is never spoken to, so it never sees the password."""
    url = valkey.url.replace("redis://", "rediss://").replace(str(valkey.port), str(tls_door))
    option = f"?ca_file={certificate(tmp_path, 'stranger')}" if stranger else ""

    cache = await open_cache(url + option, epoch=1)

    with pytest.raises(StoreUnavailable):
        await cache.ping()
    await cache.close()


async def test_tls_for_another_name(valkey: EmbeddedValkey, tls_door: int, tmp_path: Path) -> None:
    """A certificate for another host is refused, though its authority is trusted."""
    url = valkey.url.replace("redis://", "rediss://").replace(str(valkey.port), str(tls_door))
    url = url.replace("127.0.0.1", "localhost")

    cache = await open_cache(f"{url}?ca_file={tmp_path / 'door.pem'}", epoch=1)

    with pytest.raises(StoreUnavailable):
        await cache.ping()
    await cache.close()


async def test_unix_socket(tmp_path: Path) -> None:
    """A server on the same machine can be reached through a socket file."""
    server = EmbeddedValkey(tmp_path, {"unixsocket": f'"{tmp_path / "valkey.sock"}"'}, password="a-word")
    await server.start()
    cache = await open_cache(f"unix://:a-word@{tmp_path / 'valkey.sock'}?db=1", epoch=1)

    answer = await cache.sessions.validate(hash_of("unknown"), NOW)
    listener = cache.hints.listen()
    async with asyncio.timeout(2):
        await anext(listener)

    assert answer is None
    await listener.aclose()  # type: ignore[attr-defined]
    await cache.close()
    await server.stop()
