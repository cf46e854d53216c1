"""What is published over HTTP, what every answer has, and what is refused."""

import asyncio
import json
import ssl
from pathlib import Path

import httpx
import pytest

from authsvc.http import listener
from authsvc.stores.embedded import EmbeddedValkey
from authsvc.v1 import auth_service_pb2 as pb
from tests.parts.listening import Listening, listen
from tests.parts.localhost import write_certificate
from tests.parts.service import ISSUER

KEYS = "/.well-known/jwks.json"
METADATA = "/.well-known/oauth-authorization-server"
EVERYWHERE = [KEYS, METADATA, "/healthz", "/metrics", "/login", "/account", "/inspector", "/nowhere"]


async def test_key_set(listening: Listening) -> None:
    """The key set is the one of GetKeySet, for any page to read and any cache to keep as long as verifiers do."""
    told = await listening.service.auth.GetKeySet(pb.GetKeySetRequest())

    answer = await listening.get(KEYS)

    assert answer.json() == json.loads(told.jwks)
    assert answer.headers["content-type"] == "application/jwk-set+json"
    assert answer.headers["cache-control"] == f"public, max-age={told.max_age.seconds}"
    assert answer.headers["access-control-allow-origin"] == "*"


async def test_key_set_is_sent_once(listening: Listening) -> None:
    """Whoever has the newest key set is told so, and gets a new one as soon as there is one."""
    tag = (await listening.get(KEYS)).headers["etag"]

    again = await listening.get(KEYS, headers={"if-none-match": f'"other", W/{tag}'})
    other = await listening.get(KEYS, headers={"if-none-match": '"other"'})

    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    assert other.status_code == 200


async def test_metadata(listening: Listening) -> None:
    """The metadata name the issuer exactly as tokens do, and where its keys are (RFC 8414 §3.3)."""
    answer = await listening.get(METADATA)

    assert answer.json()["issuer"] == ISSUER
    assert answer.json()["jwks_uri"] == f"{ISSUER}{KEYS}"


async def test_metadata_of_an_issuer_with_a_path(sqlite_url: str, valkey: EmbeddedValkey) -> None:
    """The metadata of an issuer with a path are where RFC 8414 §3.1 puts them."""
    async with listen(sqlite_url, valkey.url, issuer="https://example.com/tenant") as listening:
        answer = await listening.get(f"{METADATA}/tenant")

    assert answer.json()["issuer"] == "https://example.com/tenant"
    assert answer.json()["jwks_uri"] == f"https://example.com{KEYS}"


async def test_health(listening: Listening) -> None:
    """Health says what gRPC's own says."""
    serving = await listening.get("/healthz")
    listening.service.app.health.close()
    closing = await listening.get("/healthz")

    assert (serving.status_code, closing.status_code) == (200, 503)


async def test_metrics(listening: Listening) -> None:
    """Metrics count answers by route; a path that somebody made up is in none."""
    await listening.get("/made-up-0123456789")

    shown = (await listening.get("/metrics")).text

    assert 'authsvc_http_answers_total{route="none",status="404"} 1.0' in shown
    assert "grpc_server_started_total" in shown
    assert "made-up" not in shown


async def test_headers(listening: Listening) -> None:
    """Every answer, a refusal too, forbids guessing its type, framing it, and running anything that is not ours."""
    answers = [await listening.get(path) for path in EVERYWHERE]

    for headers in (answer.headers for answer in answers):
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert headers["referrer-policy"] == "no-referrer"
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert "server" not in headers


async def test_only_reading(listening: Listening) -> None:
    """Nothing here changes anything, so nothing but reading is allowed, and no body is taken."""
    for path in EVERYWHERE[:-1]:
        posted = await listening.web.post(path)
        carried = await listening.web.request("GET", path, content=b"x")

        assert (path, posted.status_code, carried.status_code) == (path, 405, 413)


async def test_a_defect_tells_nothing(listening: Listening) -> None:
    """An unexpected exception becomes a fixed sentence and an id. Guard: `Answers` in http/answers."""

    async def broken() -> bytes:
        raise ValueError("the secret is 42")

    listening.service.app.metrics_page = broken

    answer = await listening.get("/metrics")

    assert answer.status_code == 500
    assert answer.json()["message"].startswith("Something went wrong here. Incident ")
    assert "42" not in answer.text


async def test_metrics_stay_inside(sqlite_url: str, valkey: EmbeddedValkey, tmp_path: Path) -> None:
    """A listener that others can reach speaks TLS alone and shows no metrics. Guard: `metrics_page` in app/instance."""
    cert, key = write_certificate(tmp_path)
    given = {"http_listen": "0.0.0.0:0", "tls_cert_file": cert, "tls_key_file": key}
    async with listen(sqlite_url, valkey.url, **given) as listening:
        port = listening.service.app.http.port
        url = f"https://localhost:{port}"
        metrics = await _get_over_tls(f"{url}/metrics", cert)
        keys = await _get_over_tls(f"{url}{KEYS}", cert)

    assert (metrics, keys) == (404, 200)


async def _get_over_tls(url: str, cert: Path) -> int:
    async with httpx.AsyncClient(verify=ssl.create_default_context(cafile=str(cert)), trust_env=False) as web:
        return (await web.get(url)).status_code


async def _connect(listening: Listening) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", listening.service.app.http.port)


_GET = b"GET /healthz HTTP/1.1\r\nHost: x\r\n"


async def test_a_request_must_arrive(listening: Listening, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who does not send a whole request in time loses the connection. Guard: `_Bounded` in http/listener."""
    monkeypatch.setattr(listener, "ARRIVAL_S", 0.2)
    for begun in (b"", b"GET /hea", _GET, _GET + b"Content-Length: 9\r\n\r\n"):
        reader, writer = await _connect(listening)
        writer.write(begun)

        async with asyncio.timeout(5):
            while await reader.read(4096):
                pass
        writer.close()


async def test_a_second_request_must_arrive_too(
    listening: Listening, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A byte now and then does not hold a connection that has had its answer. Guard: `data_received` in `_Bounded`."""
    monkeypatch.setattr(listener, "ARRIVAL_S", 0.3)
    reader, writer = await _connect(listening)
    writer.write(_GET + b"\r\n")
    await reader.readuntil(b"ok\n")

    async def drip() -> None:
        while True:
            writer.write(b"G")
            await asyncio.sleep(0.05)

    dripping = asyncio.create_task(drip())
    async with asyncio.timeout(5):
        rest = await reader.read()
    dripping.cancel()
    writer.close()
    assert not rest or rest.startswith(b"HTTP/1.1 400")


async def test_an_idle_connection_is_kept(listening: Listening, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy's connection outlives the time in which a request must arrive, as long as none has begun."""
    monkeypatch.setattr(listener, "ARRIVAL_S", 0.2)
    reader, writer = await _connect(listening)
    writer.write(_GET + b"\r\n")
    await reader.readuntil(b"ok\n")
    await asyncio.sleep(0.5)

    writer.write(_GET + b"\r\n")

    assert await reader.readuntil(b"ok\n")
    writer.close()


async def test_headers_are_bounded(listening: Listening) -> None:
    """A request with more than 16 KiB of headers is refused before anything looks at it, whole or in pieces."""
    for pieces in ([b"a" * 20_000], [b"a" * 12_000, b"a" * 12_000]):
        reader, writer = await _connect(listening)
        writer.write(_GET + b"X: ")
        for piece in pieces:
            writer.write(piece)
            await asyncio.sleep(0.02)

        writer.write(b"\r\n\r\n")

        assert (await reader.readline()).split()[1] in {b"400", b"431"}
        writer.close()
