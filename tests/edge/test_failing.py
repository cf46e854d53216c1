"""What people see through real Envoy when something behind it is gone: never that they are logged out."""

from collections.abc import AsyncIterator

import pytest

from authsvc.core.contracts import StoreUnavailable
from authsvc.core.cookies import SESSION
from tests.edge.standing import StandingEdge, needs_envoy, standing_edge

pytestmark = [needs_envoy, pytest.mark.xdist_group("edge")]


@pytest.fixture
async def fragile() -> AsyncIterator[StandingEdge]:
    """An edge of its own, to be mistreated."""
    async with standing_edge() as standing:
        yield standing


async def test_cache_down(fragile: StandingEdge) -> None:
    """Without the cache people are still logged in, at the edge's own routes and at the services."""
    visitor = fragile.visitor()
    await visitor.log_in()
    await fragile.valkey.stop()

    answers = [await visitor.ask("GET", path) for path in ("/v1/session", "/orders/1", "/v1/sessions")]

    assert [answer.status_code for answer in answers] == [200, 200, 200]


async def test_server_down(fragile: StandingEdge) -> None:
    """Without the server nobody gets to a service, is told when to try again, and keeps their cookies."""
    visitor = fragile.visitor()
    await visitor.log_in()
    session = visitor.jar[SESSION]
    await fragile.service.app.stop()

    answers = [
        await visitor.ask("GET", "/orders/1"),
        await visitor.ask("GET", "/pages/1", accept="text/html"),
        await visitor.ask("GET", "/open/1"),
        await visitor.ask("POST", "/v1/refresh", {}),
        await visitor.ask("POST", "/v1/logout", {}),
        await visitor.ask("GET", "/v1/session"),
    ]

    for answer in answers:
        assert answer.status_code == 503
        assert answer.headers["retry-after"] == "1"
        assert "set-cookie" not in answer.headers
        assert answer.json()["code"] == 14
    assert visitor.jar[SESSION] == session


async def test_database_down(fragile: StandingEdge, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the cache does not know nobody judges without the database: 503, cookies untouched; later all is well."""
    visitor = fragile.visitor()
    await visitor.log_in()
    await fragile.valkey.stop()

    async def down(*_: object, **__: object) -> None:
        raise StoreUnavailable

    with monkeypatch.context() as patched:
        patched.setattr(type(fragile.service.app.stores.sessions), "get_by_session_hash", down)
        patched.setattr(type(fragile.service.app.stores.sessions), "rotate", down)
        answers = [
            await visitor.ask("GET", "/orders/1"),
            await visitor.ask("GET", "/v1/session"),
            await visitor.ask("POST", "/v1/refresh", {}),
        ]
    later = await visitor.ask("GET", "/orders/1")

    assert [answer.status_code for answer in answers] == [503, 503, 503]
    assert [answer.headers.get("retry-after") for answer in answers] == ["1", "1", "1"]
    assert later.status_code == 200
