"""FastAPI's dependencies say whom a request speaks for, and refuse in FastAPI's own way."""

from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from authsvc_client import PolicyMistaken, Verifier, authenticated, public
from authsvc_client.frameworks.asgi import AuthMiddleware
from authsvc_client.frameworks.fastapi import CurrentPrincipal, require_scopes
from authsvc_client.testing import TokenMinter


def make_app() -> FastAPI:
    """An application with a route for each dependency."""
    app = FastAPI()

    @app.get("/me")
    def me(principal: CurrentPrincipal) -> Any:
        return {"user": principal.user_id}

    @app.get("/orders", dependencies=[require_scopes("orders.read")])
    async def orders() -> Any:
        return []

    @app.get("/open")
    def opened(principal: CurrentPrincipal) -> Any:
        return {"user": principal.user_id}

    return app


def client_of(app: Any) -> httpx.AsyncClient:
    """A client of an application in this process."""
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="https://shop.example")


@pytest.fixture
def guarded(authsvc_verifier: Verifier) -> FastAPI:
    """The application behind the middleware, added as FastAPI has it."""
    app = make_app()
    rules = {"/": authenticated(), "/open": public()}
    app.add_middleware(AuthMiddleware, verifier=authsvc_verifier, rules=rules)
    return app


async def test_a_route_is_given_its_principal(guarded: FastAPI, authsvc_minter: TokenMinter) -> None:
    """A parameter of type CurrentPrincipal is whom the token speaks for."""
    async with client_of(guarded) as client:
        response = await client.get("/me", headers=dict(authsvc_minter.metadata("user-1")))

    assert response.json() == {"user": "user-1"}


async def test_a_route_asks_for_scopes(guarded: FastAPI, authsvc_minter: TokenMinter) -> None:
    """A route with require_scopes is 403 for a token without them."""
    async with client_of(guarded) as client:
        refused = await client.get("/orders", headers=dict(authsvc_minter.metadata()))
        allowed = await client.get("/orders", headers=dict(authsvc_minter.metadata(scopes=["orders.read"])))

    assert (refused.status_code, allowed.status_code) == (403, 200)
    assert refused.json()["detail"]["reason"] == "SCOPE_INSUFFICIENT"
    assert 'scope="orders.read"' in refused.headers["www-authenticate"]


async def test_a_public_path_has_no_principal_to_give(guarded: FastAPI) -> None:
    """A route on a public path that wants a principal is 401."""
    async with client_of(guarded) as client:
        response = await client.get("/open")

    assert response.status_code == 401
    assert response.headers["www-authenticate"] == 'Bearer realm="auth.test"'


async def test_a_forgotten_middleware_is_no_way_in() -> None:
    """Without the middleware nobody has looked at any token: a defect, not a caller let in."""
    async with client_of(make_app()) as client:
        with pytest.raises(RuntimeError, match="AuthMiddleware"):
            await client.get("/me", headers={"authorization": "Bearer anything"})


def test_no_scope_is_a_mistake() -> None:
    """require_scopes without scopes would let everybody in, so it is refused at once."""
    with pytest.raises(PolicyMistaken):
        require_scopes()
