"""The same guarded site made with each framework, behind one face: a request, and what came back."""

import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
from django.test import AsyncClient, Client
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from authsvc_client import (
    NoPrincipal,
    RemoteChecks,
    Rule,
    SyncRemoteChecks,
    Verifier,
    authenticated,
    current_principal,
    public,
    scopes,
)
from authsvc_client.frameworks.asgi import PRINCIPAL, AuthMiddleware
from authsvc_client.frameworks.django import auth_middleware
from authsvc_client.testing import FakeAuthService
from tests.client.frameworks import django_site

KINDS = ("starlette", "fastapi", "django", "django-async")
RULES: Mapping[str, Rule] = {
    "/orders": authenticated(),
    "/orders/all": scopes("orders.read", "orders.write"),
    "/health": public(),
    "/strict": authenticated(strict=True),
}


@dataclass
class Response:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: Any


@dataclass
class Site:
    """A guarded site."""

    send: Callable[..., Any]

    async def get(self, path: str, token: str = "", **headers: str) -> Response:
        """GET with a bearer."""
        return await self.request("GET", path, token, **headers)

    async def request(self, method: str, path: str, token: str = "", **headers: str) -> Response:
        """Any request; `_` in header names stands for `-`."""
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        if token:
            given["authorization"] = f"Bearer {token}"
        response: Response = await self.send(method, path, given)
        return response


@asynccontextmanager
async def run_site(
    kind: str, verifier: Verifier, server: FakeAuthService | None = None
) -> AsyncIterator[Site]:
    """Run a site whose session tokens are checked by `server`, if there is one."""
    if kind.startswith("django"):
        with _SyncRemote(server) as remote:
            django_site.AuthMiddleware = auth_middleware(verifier, rules=RULES, remote=remote)
            yield Site(_django(kind))
        return
    made: list[RemoteChecks] = []

    def make_remote() -> RemoteChecks:
        assert server is not None
        made.append(RemoteChecks(server.address, server.client_key))
        return made[0]

    app: Any = _starlette() if kind == "starlette" else _fastapi()
    guarded = AuthMiddleware(app, verifier, rules=RULES, remote=make_remote if server else None)
    transport = httpx.ASGITransport(guarded)
    async with httpx.AsyncClient(transport=transport, base_url="https://shop.example") as client:
        yield Site(_httpx(client))
    for each in made:
        await each.close()


class _SyncRemote:
    def __init__(self, server: FakeAuthService | None) -> None:
        self._remote = SyncRemoteChecks(server.address, server.client_key) if server else None

    def __enter__(self) -> SyncRemoteChecks | None:
        return self._remote

    def __exit__(self, *_: object) -> None:
        if self._remote is not None:
            self._remote.close()


def _httpx(client: httpx.AsyncClient) -> Callable[..., Any]:
    async def send(method: str, path: str, headers: dict[str, str]) -> Response:
        response = await client.request(method, path, headers=headers)
        return Response(response.status_code, response.headers, response.json())

    return send


class _AsyncClient(AsyncClient):  # type: ignore[misc]  # Django has no types
    """Django's, without the headers of its own that it adds to the test's."""

    def _base_scope(self, **request: Any) -> Any:
        scope = super()._base_scope(**request)
        own = ((b"cookie", b""), (b"host", b"testserver"))
        scope["headers"] = [header for header in scope["headers"] if header not in own]
        return scope


def _django(kind: str) -> Callable[..., Any]:
    host = {"SERVER_NAME": "shop.example"}
    client: Any = Client(**host) if kind == "django" else _AsyncClient(**host)

    async def send(method: str, path: str, headers: dict[str, str]) -> Response:
        answered = client.generic(method, path, headers={"host": "shop.example", **headers})
        response = answered if kind == "django" else await answered
        lowered = {name.lower(): value for name, value in response.headers.items()}
        return Response(response.status_code, lowered, json.loads(response.content))

    return send


def _starlette() -> Starlette:
    async def whose(request: Request) -> JSONResponse:
        return JSONResponse(_told(request))

    methods = ["GET", "POST"]
    return Starlette(routes=[Route("/{rest:path}", whose, methods=methods)])


def _fastapi() -> FastAPI:
    app = FastAPI()

    @app.api_route("/{rest:path}", methods=["GET", "POST"])
    def whose(request: Request) -> Any:  # a plain function, which FastAPI runs in a thread
        return _told(request)

    return app


def _told(request: Request) -> dict[str, str | None]:
    principal = request.scope[PRINCIPAL]
    try:
        context = current_principal().user_id
    except NoPrincipal:
        context = None
    return {"user": principal and principal.user_id, "context": context}
