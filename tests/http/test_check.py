"""`/check`: whom proxies let through, as whom, and what they are told otherwise."""

from collections.abc import AsyncIterator
from urllib.parse import quote

import httpx
import pytest

from authsvc.core.clock import MINUTE
from authsvc.core.contracts import StoreUnavailable
from authsvc.core.cookies import SESSION
from authsvc.core.gate import SUBJECT_HEADERS
from authsvc.core.model import Permission
from authsvc.stores.embedded import EmbeddedValkey
from authsvc.v1 import admin_service_pb2 as admin
from authsvc.v1.resources_pb2 import Client
from authsvc_client.strict import AccessToken, KeySet, require_audience, verify_access_token
from tests.parts.listening import Listening, listen
from tests.parts.service import ISSUER, SCOPES

ORDERS = "/check?audience=orders"
PAGE = "text/html,application/xhtml+xml;q=0.9"


class Proxy:
    """A proxy that asks about requests to one service."""

    def __init__(self, listening: Listening, question: str = ORDERS) -> None:
        self.listening = listening
        self.question = question

    async def asks(self, method: str = "GET", uri: str = "/orders/7", **headers: str) -> httpx.Response:
        """What it is told about a request with these headers."""
        own = {
            "x-authsvc-key": self.listening.service.keys["gateway"],
            "x-forwarded-method": method,
            "x-forwarded-uri": uri,
        }
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.listening.get(self.question, headers={**own, **given})


@pytest.fixture
def proxy(listening: Listening) -> Proxy:
    """A proxy before `orders`."""
    return Proxy(listening)


def session(token: str, others: str = "") -> str:
    """A `cookie` header."""
    return f"{SESSION}={token}{others}"


def claims(proxy: Proxy, answer: httpx.Response) -> AccessToken:
    """What the JWT says that a service gets, verified as that service would."""
    scheme, _, token = answer.headers["authorization"].partition(" ")
    assert scheme == "Bearer"
    service = proxy.listening.service
    keys = KeySet.from_jwks(service.app._keys.ring.jwks)
    verified = verify_access_token(token, keys, issuer=ISSUER, now=service.clock())
    require_audience(verified, "orders")
    return verified


async def test_cookie_becomes_a_token(proxy: Proxy) -> None:
    """A session cookie becomes a JWT for that one service and headers that say whose it is; other cookies stay."""
    login = await proxy.listening.service.login()

    answer = await proxy.asks(cookie=f"theme=dark; {session(login.session_token)}; lang=en")

    token = claims(proxy, answer)
    assert answer.status_code == 200
    assert (token.subject, token.session_id) == (login.session.user_id, login.session.id)
    assert set(token.audiences) == {"orders"}
    assert answer.headers["cookie"] == "theme=dark; lang=en"
    assert {name: answer.headers[name] for name in SUBJECT_HEADERS} == {
        "x-authsvc-user": login.session.user_id,
        "x-authsvc-session": login.session.id,
        "x-authsvc-client": "web",
        "x-authsvc-scopes": " ".join(SCOPES),
    }
    assert login.session_token not in str(answer.headers)


async def test_bearers(proxy: Proxy) -> None:
    """A session token comes as a bearer, too; a JWT for the service is passed on; one for another is refused."""
    service = proxy.listening.service
    login = await service.login()
    other = await service.login(audiences=["billing"])

    opaque = await proxy.asks(authorization=f"Bearer {login.session_token}")
    signed = await proxy.asks(authorization=f"Bearer {login.tokens.access_token}")
    strange = await proxy.asks(authorization=f"Bearer {other.tokens.access_token}")

    assert claims(proxy, opaque).session_id == login.session.id
    assert signed.headers["authorization"] == f"Bearer {login.tokens.access_token}"
    assert strange.status_code == 401


async def test_nobody(proxy: Proxy) -> None:
    """Who brings nothing, or what is good no more, gets a 401 with the reason, and nothing is said of anybody."""
    login = await proxy.listening.service.login()
    await proxy.listening.service.revoke(token=login.session_token)

    answers = [
        await proxy.asks(),
        await proxy.asks(cookie=session(login.session_token)),
        await proxy.asks(cookie=session("ats_made-up")),
        await proxy.asks(authorization=f"Bearer {login.tokens.access_token}"),
    ]

    reasons = [answer.json()["details"][0]["reason"] for answer in answers]
    assert reasons == [
        "CREDENTIALS_MISSING",
        "SESSION_NOT_ACTIVE",
        "SESSION_NOT_ACTIVE",
        "ACCESS_TOKEN_REVOKED",
    ]
    for answer in answers:
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
        assert "set-cookie" not in answer.headers
        assert not {*SUBJECT_HEADERS, "authorization", "cookie"} & set(answer.headers)


async def test_pages(listening: Listening) -> None:
    """Who wants a page is sent to log in, and from there back; who wants data is told by the status."""
    proxy = Proxy(listening, f"{ORDERS}&mode=page")
    uri = "/orders/7?sort=up&page=2"

    page = await proxy.asks(uri=uri, accept=PAGE)
    data = await proxy.asks(uri=uri, accept="application/json")
    posted = await proxy.asks("POST", uri=uri, accept=PAGE)

    assert (page.status_code, page.headers["location"]) == (303, f"/login?next={quote(uri, safe='/')}")
    assert [data.status_code, posted.status_code] == [401, 401]


async def test_proxies_that_cannot_redirect(listening: Listening) -> None:
    """nginx gets only statuses that it knows, and the way to the login page in a header."""
    proxy = Proxy(listening, f"{ORDERS}&mode=page&redirects=false")
    token = (await listening.service.login()).session_token

    page = await proxy.asks(accept=PAGE)
    planted = await proxy.asks(cookie=f"{session(token)}; {session(token)}")
    forged = await proxy.asks("POST", cookie=session(token), origin="https://evil.example")

    assert (page.status_code, page.headers["x-authsvc-login"]) == (401, "/login?next=/orders/7")
    assert [planted.status_code, forged.status_code] == [403, 403]


async def test_nobody_else_acts(proxy: Proxy) -> None:
    """What changes anything for a cookie must begin at a page of ours; a WebSocket too. Guard: the method that the
    proxy reports, in `_arrival`."""
    cookie = session((await proxy.listening.service.login()).session_token)

    said = [
        (await proxy.asks("POST", cookie=cookie)).status_code,
        (await proxy.asks("DELETE", cookie=cookie, origin="https://evil.example")).status_code,
        (await proxy.asks("GET", cookie=cookie, upgrade="websocket", sec_fetch_site="same-site")).status_code,
        (await proxy.asks("POST", cookie=cookie, origin=ISSUER)).status_code,
        (await proxy.asks("POST", cookie=cookie, sec_fetch_site="same-origin")).status_code,
    ]

    assert said == [403, 403, 403, 200, 200]


async def test_audience_and_scopes(listening: Listening) -> None:
    """A service gets a token for what its session, its proxy and its own wishes have in common, or nobody comes in."""
    service = listening.service
    cookie = session((await service.login(audiences=["orders"], scopes=["orders.read"])).session_token)
    asked = ("audience=orders", "audience=billing", "audience=orders&scopes=orders.write")
    request = admin.UpdateClientRequest(client=Client(id="gateway", audiences=["billing"]))
    request.update_mask.paths.append("audiences")

    answers = [await Proxy(listening, f"/check?{each}").asks(cookie=cookie) for each in asked]
    await service.admin.UpdateClient(request, metadata=service.by("root"))
    after = await Proxy(listening).asks(cookie=cookie)

    assert [answer.status_code for answer in (*answers, after)] == [200, 403, 403, 403]
    assert answers[0].headers["x-authsvc-scopes"] == "orders.read"


async def test_optional(listening: Listening) -> None:
    """Where a service takes anybody, who is not logged in comes through as nobody."""
    proxy = Proxy(listening, f"{ORDERS}&optional=true")
    login = await listening.service.login()

    known = await proxy.asks(cookie=session(login.session_token))
    nobody = await proxy.asks(cookie="theme=dark")

    assert known.headers["x-authsvc-user"] == login.session.user_id
    assert nobody.status_code == 200
    assert not {*SUBJECT_HEADERS, "authorization"} & set(nobody.headers)


async def test_tokens_are_kept_ready(proxy: Proxy) -> None:
    """A session gets the same JWT while that is good for a while, another before it ends, and none once revoked."""
    service = proxy.listening.service
    login = await service.login()
    cookie = session(login.session_token)

    first, second = await proxy.asks(cookie=cookie), await proxy.asks(cookie=cookie)
    service.clock.move(5 * MINUTE)
    later = await proxy.asks(cookie=cookie)
    await service.revoke(token=login.session_token)
    after = await proxy.asks(cookie=cookie)

    assert first.headers["authorization"] == second.headers["authorization"]
    assert claims(proxy, later).session_id == login.session.id
    assert later.headers["authorization"] != first.headers["authorization"]
    assert after.status_code == 401


UNUSABLE: dict[str, tuple[str, dict[str, str]]] = {
    "no key": (ORDERS, {"x-authsvc-key": ""}),
    "a key that is none": (ORDERS, {"x-authsvc-key": "atc_made-up"}),
    "no audience": ("/check", {}),
    "an unknown wish": (f"{ORDERS}&wish=1", {}),
    "a wish twice": (f"{ORDERS}&audience=billing", {}),
    "a login page elsewhere": (f"{ORDERS}&login=//evil.example", {}),
    "no method": (ORDERS, {"x-forwarded-method": ""}),
    "no address": (ORDERS, {"x-forwarded-uri": ""}),
}


async def test_unusable_questions(listening: Listening) -> None:
    """A proxy that is not set up as it should be lets nobody in, and sends nobody to log in for it. Guards:
    `QuestionUnusable` in http/check."""
    cookie = session((await listening.service.login()).session_token)

    for name, (question, headers) in UNUSABLE.items():
        proxy = Proxy(listening, question)
        answer = await proxy.asks(
            cookie=cookie, **{key.replace("-", "_"): value for key, value in headers.items()}
        )

        assert (name, answer.status_code) == (name, 503)
        assert answer.headers["retry-after"] == "1"


async def test_only_who_may_introspect(listening: Listening) -> None:
    """A JWT for a cookie is for clients that may introspect alone. Guard: `_caller` in http/check."""
    proxy = Proxy(listening)
    login = await listening.service.login()
    cookie = session(login.session_token)

    said = {
        client: (await proxy.asks(cookie=cookie, x_authsvc_key=key)).status_code
        for client, key in {**listening.service.keys, "user": login.tokens.access_token}.items()
    }

    assert said == {"web": 503, "app": 503, "gateway": 200, "root": 503, "user": 503}


async def test_nothing_is_known(proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    """While nobody can tell whose a cookie is, nobody comes in, and nobody is logged out."""
    cookie = session((await proxy.listening.service.login()).session_token)

    async def down(*_: object) -> None:
        raise StoreUnavailable

    app = proxy.listening.service.app
    monkeypatch.setattr(app.cache.sessions, "validate", down)
    monkeypatch.setattr(app.stores.sessions, "get_by_session_hash", down)

    answer = await proxy.asks(cookie=cookie)

    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert answer.json()["details"][0]["reason"] == "DEPENDENCY_UNAVAILABLE"
    assert "set-cookie" not in answer.headers


@pytest.fixture
async def development(sqlite_url: str, valkey: EmbeddedValkey) -> AsyncIterator[Listening]:
    """An instance for development, where local callers need no key."""
    permissions = frozenset({Permission.LOGIN, Permission.INTROSPECT})
    async with listen(sqlite_url, valkey.url, anonymous=permissions) as running:
        yield running


async def test_development(development: Listening) -> None:
    """In development a proxy on this machine needs no key, but a wrong one is still wrong."""
    proxy = Proxy(development)
    cookie = session((await development.service.login()).session_token)
    headers = {"cookie": cookie, "x-forwarded-method": "GET", "x-forwarded-uri": "/orders/"}

    without = await development.get(ORDERS, headers=headers)
    wrong = await proxy.asks(cookie=cookie, x_authsvc_key="atc_made-up")

    assert (without.status_code, wrong.status_code) == (200, 503)
