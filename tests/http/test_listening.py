"""Where the HTTP listener listens, and with what; and several processes there."""

import asyncio
import json
import socket
import ssl
import urllib.request
from pathlib import Path

import httpx
import pytest

from authsvc.app import AddressTaken, open_app
from authsvc.config import SettingsWrong, read_settings
from authsvc.stores.embedded import EmbeddedValkey, free_port
from tests.parts import processes
from tests.parts.listening import Listening, listen
from tests.parts.localhost import write_certificate
from tests.parts.service import run_service, settings_for


def test_only_here_without_a_certificate(tmp_path: Path) -> None:
    """Session cookies do not cross a network in the clear: without a certificate it listens on this machine only.
    Guard: settings/http."""
    cert, key = map(str, write_certificate(tmp_path))
    secrets = tmp_path / "secrets"
    secrets.write_text("0123456789abcdef0123456789abcdef")
    given = {"ISSUER": "https://a.example", "DATABASE_URL": "sqlite:///x", "CACHE_URL": "none"}
    given |= {"SECRET_KEYS_FILE": str(secrets), "HTTP_LISTEN": "0.0.0.0:8081"}
    tls = {**given, "TLS_CERT_FILE": cert, "TLS_KEY_FILE": key}

    with pytest.raises(SettingsWrong) as refused:
        read_settings(_named({**given, "PLAINTEXT": "true"}))
    allowed = read_settings(_named(tls))

    assert [mistake for mistake in refused.value.mistakes if "AUTHSVC_HTTP_LISTEN" in mistake]
    assert allowed.http_listen == "0.0.0.0:8081"


def _named(given: dict[str, str]) -> dict[str, str]:
    return {f"AUTHSVC_{name}": value for name, value in given.items()}


async def test_unix_socket(sqlite_url: str, valkey: EmbeddedValkey, tmp_path: Path) -> None:
    """It listens on a Unix socket as well, also where one was left behind by a process that was killed."""
    path = tmp_path / "http.sock"
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(path))
    left.close()
    async with run_service(sqlite_url, valkey.url, http_listen=f"unix:{path}") as service:
        transport = httpx.AsyncHTTPTransport(uds=str(path))
        async with httpx.AsyncClient(transport=transport, base_url="http://here") as web:
            answer = await web.get("/healthz")

    assert (answer.status_code, service.app.http.address) == (200, f"unix:{path}")


async def test_address_taken(listening: Listening, sqlite_url: str, valkey: EmbeddedValkey) -> None:
    """An address that is in use is refused by name, and nothing else is left open."""
    taken = listening.service.app.http.address
    app = await open_app(settings_for(sqlite_url, valkey.url, http_listen=taken))

    with pytest.raises(AddressTaken, match=taken):
        await app.start()
    await app.stop()


async def test_new_certificate(sqlite_url: str, valkey: EmbeddedValkey, tmp_path: Path) -> None:
    """A new certificate is shown to whoever connects from then on, without a restart."""
    cert, key = write_certificate(tmp_path)
    given = {"http_listen": "127.0.0.1:0", "tls_cert_file": cert, "tls_key_file": key}
    async with listen(sqlite_url, valkey.url, **given) as listening:
        app = listening.service.app
        before = await asyncio.to_thread(ssl.get_server_certificate, ("127.0.0.1", app.http.port))
        write_certificate(tmp_path)
        assert app.certificates is not None
        await app.certificates.look()
        app.http.renew()

        after = await asyncio.to_thread(ssl.get_server_certificate, ("127.0.0.1", app.http.port))

    assert before.strip() != after.strip()


def test_workers_share_it(sqlite_url: str, valkey: EmbeddedValkey, tmp_path: Path) -> None:
    """Several workers answer at the one address; whichever is asked for metrics shows those of all."""
    settings = processes.settings_of(tmp_path, sqlite_url, valkey.url)
    address = f"127.0.0.1:{free_port()}"
    with processes.serve("--workers", "2", **settings, HTTP_LISTEN=address) as serving:
        processes.until(lambda: sum("worker serving" in line for line in serving.lines) == 2)
        said = next(json.loads(line) for line in serving.lines if json.loads(line)["event"] == "serving")
        for _ in range(12):
            assert _get(f"http://{address}/healthz") == "ok\n"

        page = _get(f"http://{address}/metrics")

        assert said["http"] == address
        assert 'authsvc_http_answers_total{route="health",status="200"} 12.0' in page
        assert serving.terminate() == 0


def _get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=20) as response:
        return str(response.read().decode())
