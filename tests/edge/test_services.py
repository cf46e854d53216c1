"""Services behind real Envoy: what they see, what they never see, and who gets to them."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from authsvc.core.clock import MINUTE
from authsvc.core.cookies import REFRESH, SESSION
from authsvc.v1 import auth_service_pb2 as pb
from authsvc_client.strict import KeySet, verify_access_token
from tests.edge.standing import StandingEdge, Visitor, needs_envoy, reason, seen

pytestmark = [needs_envoy, pytest.mark.asyncio(loop_scope="module"), pytest.mark.xdist_group("edge")]
PAGE = "text/html,application/xhtml+xml,*/*;q=0.8"


@pytest_asyncio.fixture(loop_scope="module")
async def visitor(edge: StandingEdge) -> AsyncIterator[Visitor]:
    """Somebody who is logged in."""
    somebody = edge.visitor()
    await somebody.log_in()
    yield somebody


async def access_token(edge: StandingEdge, audience: str) -> str:
    """A JWT that a program holds."""
    response = await edge.service.login()
    refreshed = await edge.service.refresh(response.tokens.refresh_token, audiences=[audience])
    return str(refreshed.tokens.access_token)


async def test_cookie_in_jwt_out(edge: StandingEdge, visitor: Visitor) -> None:
    """The service gets a JWT for itself alone, whose it is, and no cookie of ours; the browser gets no JWT."""
    response = await visitor.ask(
        "GET", "/orders/1", cookie=f"theirs=1; {SESSION}={visitor.jar[SESSION]}; also=2"
    )

    got = seen(response)
    keys = KeySet.from_jwks((await edge.client.get("/.well-known/jwks.json")).text)
    [authorization] = got["authorization"]
    text = authorization.removeprefix("Bearer ")
    token = verify_access_token(text, keys, issuer=edge.origin, now=edge.service.clock())
    assert token.audiences == ("orders",)
    assert got["cookie"] == ["theirs=1; also=2"]
    assert got["x-authsvc-user"] == [token.subject] == [edge.service.user_ids["alice"]]
    assert got["x-authsvc-session"] == [token.session_id]
    assert got["x-authsvc-client"] == ["edge"]
    assert "cookie" not in seen(await visitor.ask("GET", "/orders/1"))
    assert got["x-authsvc-scopes"] == ["orders.read orders.write"]
    assert visitor.jar[SESSION] not in response.text
    assert not any("eyJ" in value for value in response.headers.values())


async def test_nobody_claims_to_be_somebody(edge: StandingEdge, visitor: Visitor) -> None:
    """Headers that only the edge sets do not come from outside, on no route."""
    lies = {"x_authsvc_user": "root", "X_Authsvc_Scopes": "authsvc.admin", "x_authsvc_anything": "1"}

    logged_in = seen(await visitor.ask("GET", "/orders/1", **lies))
    nobody = seen(await edge.visitor().ask("GET", "/open/1", **lies))

    assert logged_in["x-authsvc-user"] == [edge.service.user_ids["alice"]]
    assert "x-authsvc-anything" not in logged_in
    assert not [name for name in nobody if name.startswith("x-authsvc")]


async def test_after_logout(edge: StandingEdge, visitor: Visitor) -> None:
    """The request after the logout is refused, though the JWT of the one before would be good for minutes."""
    jar = dict(visitor.jar)
    before = await visitor.ask("GET", "/orders/1")

    await visitor.ask("POST", "/v1/logout", {})
    visitor.jar = jar
    after = await visitor.ask("GET", "/orders/1")

    assert before.status_code == 200
    assert after.status_code == 401
    assert reason(after) == "SESSION_NOT_ACTIVE"
    assert after.headers["www-authenticate"] == "Bearer"


async def test_one_token_per_session_and_service(visitor: Visitor, edge: StandingEdge) -> None:
    """A JWT is made once and used until it nears its end; another session gets another."""
    other = edge.visitor()
    await other.log_in()

    tokens = [seen(await each.ask("GET", "/orders/1"))["authorization"] for each in (visitor, visitor, other)]

    assert tokens[0] == tokens[1]
    assert tokens[2] != tokens[0]


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/orders/1", {"accept": PAGE}, 401),
        ("/pages/1", {}, 401),
        ("/pages/1", {"accept": "application/json"}, 401),
        ("/pages/1", {"accept": PAGE}, 303),
    ],
)
async def test_who_is_not_logged_in(
    edge: StandingEdge, path: str, headers: dict[str, str], status: int
) -> None:
    """A program is told; a browser that wants a page is sent to log in, and from there to the page."""
    response = await edge.visitor().ask("GET", f"{path}?a=1&b=%2F", **headers)

    assert response.status_code == status
    if status == 303:
        assert response.headers["location"] == "/login?next=/pages/1%3Fa%3D1%26b%3D%252F"
    else:
        assert reason(response) == "CREDENTIALS_MISSING"


async def test_posts_are_not_redirected(edge: StandingEdge) -> None:
    """What would be lost on the way through the login page is refused instead."""
    response = await edge.visitor().ask("POST", "/pages/1", {}, accept=PAGE)

    assert response.status_code == 401


@pytest.mark.parametrize(
    "said",
    [{"origin": ""}, {"origin": "https://evil.example"}, {"origin": "", "sec_fetch_site": "same-site"}],
)
async def test_other_pages_reach_no_service(visitor: Visitor, said: dict[str, str]) -> None:
    """A cookie that came at the word of a page of others changes nothing at a service either; reading is as ever."""
    written = await visitor.ask("POST", "/orders/1", {}, **said)
    read = await visitor.ask("GET", "/orders/1", **said)

    assert reason(written) == "ORIGIN_NOT_ALLOWED"
    assert read.status_code == 200


async def test_optional(edge: StandingEdge, visitor: Visitor) -> None:
    """Where the service lets anybody in, whoever is logged in is known, and a dead cookie is nobody's."""
    known = seen(await visitor.ask("GET", "/open/1"))
    dead = seen(await edge.visitor().ask("GET", "/open/1", cookie=f"{SESSION}=ats_dead; a=1"))

    assert known["x-authsvc-user"] == [edge.service.user_ids["alice"]]
    assert "authorization" not in dead
    assert dead["cookie"] == ["a=1"]


async def test_scopes(edge: StandingEdge, visitor: Visitor) -> None:
    """A route that names scopes gets a token with these alone; whoever lacks one is refused."""
    await edge.service.add_user("reader", scopes=["billing.read"])
    reader = edge.visitor()
    await reader.log_in("reader")

    narrow = seen(await visitor.ask("GET", "/narrow/1"))
    refused = await reader.ask("GET", "/narrow/1")

    assert narrow["x-authsvc-scopes"] == ["orders.read"]
    assert refused.status_code == 403
    assert reason(refused) == "SCOPE_INSUFFICIENT"


async def test_audience_of_another(visitor: Visitor) -> None:
    """A session that is not for a service does not get there."""
    response = await visitor.ask("GET", "/other/1")

    assert response.status_code == 403
    assert reason(response) == "CALLER_NOT_PERMITTED"


async def test_bearers(edge: StandingEdge) -> None:
    """A program gets in by its session token, which becomes a JWT, or by a JWT for this service, which stays."""
    nobody = edge.visitor()
    session = (await edge.service.login()).session_token
    mine, others = await access_token(edge, "orders"), await access_token(edge, "billing")

    by_session = seen(await nobody.ask("GET", "/orders/1", authorization=f"Bearer {session}"))
    by_token = seen(await nobody.ask("GET", "/orders/1", authorization=f"Bearer {mine}"))
    refused = await nobody.ask("GET", "/orders/1", authorization=f"Bearer {others}")

    assert by_session["authorization"][0].startswith("Bearer eyJ")
    assert by_session["x-authsvc-client"] == ["web"]
    assert by_token["authorization"] == [f"Bearer {mine}"]
    assert by_token["x-authsvc-user"] == [edge.service.user_ids["alice"]]
    assert reason(refused) == "ACCESS_TOKEN_INVALID"


async def test_credentials_that_open_nothing(edge: StandingEdge) -> None:
    """Client keys, refresh tokens, other schemes, two credentials at once: none of them gets to a service."""
    nobody, login = edge.visitor(), await edge.service.login()
    key, refresh = edge.service.keys["gateway"], login.tokens.refresh_token
    cookie = f"{SESSION}={login.session_token}"

    answers = [
        await nobody.ask("GET", "/orders/1", authorization=f"Bearer {key}"),
        await nobody.ask("GET", "/orders/1", authorization=f"Bearer {refresh}"),
        await nobody.ask("GET", "/orders/1", authorization="Basic YTpi"),
        await nobody.ask("GET", "/orders/1", authorization=f"Bearer {login.session_token}", cookie=cookie),
        await nobody.ask("GET", "/orders/1", cookie=f"{cookie}; {cookie}"),
        await nobody.ask("GET", "/orders/1", cookie=cookie.lower().replace("ats", "ATS")),
        await nobody.ask("GET", "/orders/1", cookie=f"{REFRESH}={refresh}"),
    ]

    assert [answer.status_code for answer in answers] == [401, 401, 401, 400, 400, 400, 401]


async def test_revoked_access_token(edge: StandingEdge) -> None:
    """A JWT of a session that has ended is refused at the edge, before its own end."""
    token = await access_token(edge, "orders")
    await edge.service.revoke(token=token)

    response = await edge.visitor().ask("GET", "/orders/1", authorization=f"Bearer {token}")

    assert reason(response) == "ACCESS_TOKEN_REVOKED"


async def test_route_that_makes_no_sense(visitor: Visitor) -> None:
    """A route whose wishes cannot be read lets nobody through."""
    response = await visitor.ask("GET", "/wrong/1")

    assert response.status_code == 503
    assert response.headers["retry-after"] == "1"


async def test_idle_session_at_the_edge(edge: StandingEdge) -> None:
    """Each request through the edge moves the idle deadline; without any the session ends."""
    somebody = edge.visitor()
    await somebody.log_in()

    statuses = []
    for minutes in (20, 20, 31):
        edge.service.clock.move(minutes * MINUTE)
        statuses.append((await somebody.ask("GET", "/orders/1")).status_code)

    assert statuses == [200, 200, 401]


async def test_many_at_once(edge: StandingEdge, visitor: Visitor) -> None:
    """Under load each gets its own token and nobody another's."""
    other = edge.visitor()
    await edge.service.add_user("bob")
    await other.log_in("bob")

    answers = await asyncio.gather(
        *(each.ask("GET", f"/orders/{number}") for number in range(40) for each in (visitor, other))
    )

    users = [seen(answer)["x-authsvc-user"][0] for answer in answers]
    assert users == [edge.service.user_ids["alice"], edge.service.user_ids["bob"]] * 40


async def test_exchange_is_not_for_browsers(edge: StandingEdge, visitor: Visitor) -> None:
    """No way through the edge turns a cookie into a JWT that a browser can read."""
    web = {"content-type": "application/grpc-web+proto", "x-grpc-web": "1", "origin": edge.origin}
    message = pb.ExchangeSessionRequest(audiences=["orders"]).SerializeToString()

    answer = await edge.client.post(
        "/authsvc.v1.AuthService/ExchangeSession",
        content=b"\0" + len(message).to_bytes(4, "big") + message,
        headers={**web, "cookie": f"{SESSION}={visitor.jar[SESSION]}"},
    )

    assert b"eyJ" not in answer.content
    assert not any("eyJ" in value for value in answer.headers.values())
    assert answer.status_code == 404
