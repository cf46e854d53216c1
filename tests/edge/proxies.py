"""Real nginx and Caddy with the configurations of `deploy/`, on free ports, before a service that tells what it got."""

import asyncio
import json
import os
import shutil
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from tests.edge.browsing import Front, free_port, run_front

_DEPLOY = Path(__file__).parents[2] / "deploy"
PROGRAMS = {
    "nginx": shutil.which("nginx", path=os.defpath + ":/usr/sbin:/usr/local/sbin"),
    "caddy": shutil.which("caddy", path=Path(sys.executable).parent) or shutil.which("caddy"),
}
_UP_SECONDS = 20
_NGINX = """
daemon off;
pid {directory}/nginx.pid;
error_log {directory}/error.log;
events {{}}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    include authsvc.conf;
}}
"""
_CADDY = "{\n\tadmin off\n\tauto_https disable_redirects\n\tskip_install_trust\n}\n"


@dataclass
class Orders:
    """A service that answers with the headers that it got, and keeps them."""

    port: int = 0
    got: list[dict[str, list[str]]] = field(default_factory=list)

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one connection, request by request."""
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                headers: dict[str, list[str]] = {}
                for line in head.split("\r\n")[1:-2]:
                    name, _, value = line.partition(":")
                    headers.setdefault(name.lower(), []).append(value.strip())
                await reader.readexactly(int(headers.get("content-length", ["0"])[0]))
                self.got.append(headers)
                body = json.dumps(headers).encode()
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
                await writer.drain()
        writer.close()


@asynccontextmanager
async def run_orders() -> AsyncIterator[Orders]:
    """Run the service on a free port."""
    orders = Orders()
    server = await asyncio.start_server(orders.answer, "127.0.0.1", 0)
    orders.port = server.sockets[0].getsockname()[1]
    try:
        yield orders
    finally:
        server.close()


@dataclass
class Proxied:
    """A proxy before authsvc and `orders`, and a client of it that keeps no cookies of its own accord."""

    front: Front
    orders: Orders
    web: httpx.AsyncClient

    async def get(self, path: str = "/orders/7", **headers: str) -> httpx.Response:
        """GET a path with these headers."""
        return await self.asks("GET", path, b"", **headers)

    async def asks(self, method: str, path: str, content: bytes = b"", **headers: str) -> httpx.Response:
        """Ask for a path with these headers."""
        self.web.cookies.clear()
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.web.request(method, path, headers=given, content=content)


@asynccontextmanager
async def run_proxied(name: str, directory: Path) -> AsyncIterator[Proxied]:
    """Run everything, with this proxy."""
    port = free_port()
    async with AsyncExitStack() as stack:
        orders = await stack.enter_async_context(run_orders())
        origin = f"https://localhost:{port}"
        front = await stack.enter_async_context(run_front(tls=False, issuer=origin))
        write = {"nginx": _write_nginx, "caddy": _write_caddy}[name]
        command, environment = write(front, orders, port, directory)
        await stack.enter_async_context(_running(command, environment, port, directory / "log"))
        web = httpx.AsyncClient(base_url=origin, verify=False, trust_env=False, timeout=20)
        await stack.enter_async_context(web)
        yield Proxied(front, orders, web)


def _write_nginx(
    front: Front, orders: Orders, port: int, directory: Path
) -> tuple[list[str], dict[str, str]]:
    places = {
        "127.0.0.1:8081": f"127.0.0.1:{front.service.app.http.port}",
        "127.0.0.1:8443": f"127.0.0.1:{front.port}",
        "127.0.0.1:8000": f"127.0.0.1:{orders.port}",
        "listen 443 ssl": f"listen 127.0.0.1:{port} ssl",
        "/etc/authsvc/tls/cert.pem": str(front.certificate[0]),
        "/etc/authsvc/tls/key.pem": str(front.certificate[1]),
        "auth.example.com": "localhost",
    }
    for file in (_DEPLOY / "nginx").iterdir():
        text = file.read_text()
        for place, here in places.items():
            text = text.replace(place, here)
        (directory / file.name).write_text(text)
    (directory / "authsvc_key.conf").write_text(f'proxy_set_header X-Authsvc-Key "{front.edge_key}";\n')
    (directory / "nginx.conf").write_text(_NGINX.format(directory=directory))
    return [str(PROGRAMS["nginx"]), "-p", str(directory), "-c", "nginx.conf", "-e", "error.log"], {}


def _write_caddy(
    front: Front, orders: Orders, port: int, directory: Path
) -> tuple[list[str], dict[str, str]]:
    site = "{$SITE:auth.example.com} {"
    text = (_DEPLOY / "caddy" / "Caddyfile").read_text()
    text = text.replace(site, f"{site}\n\ttls {front.certificate[0]} {front.certificate[1]}")
    (directory / "Caddyfile").write_text(_CADDY + text)
    (directory / "key").write_text(f"{front.edge_key}\n")
    environment = {
        "SITE": f"https://localhost:{port}",
        "AUTHSVC_HTTP_LISTEN": f"127.0.0.1:{front.service.app.http.port}",
        "AUTHSVC_EDGE_LISTEN": f"127.0.0.1:{front.port}",
        "PROXY_KEY_FILE": str(directory / "key"),
        "ORDERS": f"127.0.0.1:{orders.port}",
        "HOME": str(directory),
    }
    return [str(PROGRAMS["caddy"]), "run", "--config", str(directory / "Caddyfile")], environment


@asynccontextmanager
async def _running(
    command: list[str], environment: Mapping[str, str], port: int, log: Path
) -> AsyncIterator[None]:
    with log.open("w") as to:
        process: Any = await asyncio.create_subprocess_exec(
            *command, stdout=to, stderr=to, env={**os.environ, **environment}
        )
    try:
        async with asyncio.timeout(_UP_SECONDS):
            while not await _answers(port):
                assert process.returncode is None, await asyncio.to_thread(log.read_text)
                await asyncio.sleep(0.02)
        yield
    finally:
        with suppress(ProcessLookupError):
            process.terminate()
        await process.wait()


async def _answers(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True
