"""The cache over TLS: a server on another machine proves who it is, or is not spoken to."""

import asyncio
import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from authsvc.core.contracts import StoreUnavailable
from authsvc.stores.embedded import EmbeddedValkey, free_port
from authsvc.stores.valkey import open_cache, parse_cache_url
from authsvc.stores.valkey.address import Address, NotVerified
from authsvc.stores.valkey.clients import open_client
from authsvc.stores.valkey.dial import dial
from tests.parts.authority import Authority, dns
from tests.parts.tls_front import tls_front
from tests.parts.valkey import NOW, cached, hash_of, until

_SERVER = shutil.which("redis-server")
_PASSWORD = "a-password-for-a-test"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """The authority of the server's certificate; its own is in `ca.pem`."""
    made = Authority()
    made.write(tmp_path)
    return made


@pytest.fixture(
    params=[
        "valkey behind a front",
        pytest.param(
            "redis-server",
            marks=pytest.mark.skipif(
                _SERVER is None, reason="no redis-server on this machine that speaks TLS itself"
            ),
        ),
    ]
)
async def place(
    request: pytest.FixtureRequest, valkey: EmbeddedValkey, authority: Authority, tmp_path: Path
) -> AsyncIterator[str]:
    """`password@…:port` of a server that speaks TLS, as `localhost`, with a place for the host."""
    signed = authority.sign(dns("localhost"))
    if request.param == "redis-server":
        process, port = await _start(signed.write(tmp_path, "redis"), tmp_path)
        yield f":{_PASSWORD}@{{}}:{port}"
        process.kill()
        await process.wait()
        return
    async with tls_front(valkey.port, signed, tmp_path) as front:
        credentials = valkey.url.removeprefix("redis://").partition("@")[0]
        yield f"{credentials}@{{}}:{front.port}"


async def _start(files: tuple[Path, Path], directory: Path) -> tuple[asyncio.subprocess.Process, int]:
    """Start Redis, with TLS and nothing else."""
    assert _SERVER is not None
    port = free_port()
    settings = {
        "port": 0,
        "tls-port": port,
        "bind": "127.0.0.1",
        "tls-cert-file": files[0],
        "tls-key-file": files[1],
        "tls-auth-clients": "no",
        "requirepass": _PASSWORD,
        "dir": directory,
        "save": '""',
    }
    process = await asyncio.create_subprocess_exec(
        _SERVER, "-", stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
    )
    assert process.stdin is not None
    process.stdin.write("".join(f"{name} {value}\n" for name, value in settings.items()).encode())
    process.stdin.write_eof()

    async def listens() -> bool:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            return False
        writer.close()
        return True

    await until(listens, within_s=20)
    return process, port


async def answers(url: str) -> bool:
    """Whether the cache at this address is one to speak to; what is written there can be read."""
    stores = await open_cache(url, epoch=1, timeout_ms=5_000)
    try:
        await stores.sessions.add(hash_of(url), cached(), NOW)
        return await stores.sessions.validate(hash_of(url), NOW) is not None
    except StoreUnavailable:
        return False
    finally:
        await stores.close()


async def test_a_server_that_proves_who_it_is(place: str, tmp_path: Path) -> None:
    """With its authority known, the server is spoken to; hints too."""
    url = f"rediss://{place.format('localhost')}/0?ca_file={tmp_path / 'ca.pem'}"
    stores = await open_cache(url, epoch=1, timeout_ms=5_000)

    listening = stores.hints.listen()
    async with asyncio.timeout(20):
        await anext(listening)

    assert await answers(url)
    await listening.aclose()  # type: ignore[attr-defined]
    await stores.close()


async def test_another_authority_or_name(place: str, tmp_path: Path) -> None:
    """A certificate of an authority that is not the one named, or for another name, proves nothing."""
    other = Authority().write(tmp_path, "other")

    assert not await answers(f"rediss://{place.format('localhost')}/0?ca_file={other}")
    assert not await answers(f"rediss://{place.format('localhost')}/0")
    assert not await answers(f"rediss://{place.format('127.0.0.1')}/0?ca_file={tmp_path / 'ca.pem'}")


async def test_plaintext_to_another_machine_is_never_spoken() -> None:
    """Wherever an address comes from, sentinels and cluster maps too, a server on another machine is not spoken to in
    the clear, unless told so. (Guard: `Address.ensure_verified`, in `dial` and `open_client`.)"""
    there = Address("192.0.2.1", 6379)

    with pytest.raises(NotVerified):
        await dial(there, timeout_s=0.1)
    with pytest.raises(NotVerified):
        open_client(there, timeout_s=0.1)


@pytest.mark.parametrize(
    "url",
    [
        "redis+sentinel://127.0.0.1:26379/main",
        "redis+cluster://localhost:7000",
        "redis://127.0.0.1",
    ],
)
def test_what_is_found_is_no_safer_than_where_it_was_found(url: str) -> None:
    """Servers that sentinels or a cluster on this machine name, on another machine, must prove themselves, too."""
    found = parse_cache_url(url).entry.at("192.0.2.1", 6379)

    with pytest.raises(NotVerified):
        found.ensure_verified()
    parse_cache_url(f"{url}?unsafe_plaintext=true").entry.at("192.0.2.1", 6379).ensure_verified()
