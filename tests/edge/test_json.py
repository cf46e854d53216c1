"""JSON for browsers, through real Envoy."""

import asyncio
import json
from pathlib import Path

import httpx
import pytest

from authsvc.core.cookies import DEVICE, REFRESH, SESSION
from tests.edge.standing import CURL, StandingEdge, Visitor, needs_envoy, reason
from tests.parts.service import PASSWORD

pytestmark = [needs_envoy, pytest.mark.asyncio(loop_scope="module"), pytest.mark.xdist_group("edge")]


def is_refused(response: httpx.Response, status: int, code: int) -> bool:
    """Whether the answer is google.rpc.Status as JSON."""
    said = response.json()
    return response.status_code == status and said["code"] == code and bool(said["message"])


async def test_login_and_logout(edge: StandingEdge) -> None:
    """A browser logs in, is somebody, and logs out: cookies come and go as headers, tokens are in no body."""
    visitor = edge.visitor()

    logged_in = await visitor.log_in()
    session, refresh = visitor.jar[SESSION], visitor.jar[REFRESH]
    me = await visitor.ask("GET", "/v1/session")
    listed = await visitor.ask("GET", "/v1/sessions")
    logged_out = await visitor.ask("POST", "/v1/logout", {})

    assert [each.status_code for each in (logged_in, me, listed, logged_out)] == [200] * 4
    assert not any(token in each.text for token in (session, refresh) for each in (logged_in, me, listed))
    assert "eyJ" not in logged_in.text
    assert me.json()["session"]["username"] == "alice"
    assert [each.get("current") for each in listed.json()["sessions"]] == [True]
    assert set(visitor.jar) == {DEVICE}
    visitor.jar = {SESSION: session, REFRESH: refresh}
    assert reason(await visitor.ask("GET", "/v1/session")) == "SESSION_NOT_ACTIVE"
    assert reason(await visitor.ask("POST", "/v1/refresh", {})) == "REFRESH_TOKEN_NOT_ACTIVE"
    assert visitor.jar == {}


async def test_refresh(edge: StandingEdge) -> None:
    """The refresh token goes round as a cookie; of two requests with the same one, neither logs anybody out."""
    visitor, tab = edge.visitor(), edge.visitor()
    await visitor.log_in()
    tab.jar = dict(visitor.jar)

    first, second = await asyncio.gather(*(each.ask("POST", "/v1/refresh", {}) for each in (visitor, tab)))

    assert (first.status_code, second.status_code) == (200, 200)
    assert visitor.jar == tab.jar
    assert "tokens" not in first.json()


async def test_where_the_browser_is(edge: StandingEdge) -> None:
    """Sessions show the browser's address and program as the edge saw them, whatever the request says."""
    visitor = edge.visitor()
    lies = {"device": {"ipAddress": "198.51.100.9", "label": "Laptop"}}

    response = await visitor.ask(
        "POST",
        "/v1/login",
        {"username": await _user(edge), "password": PASSWORD, **lies},
        user_agent="Browser/7",
        x_authsvc_address="198.51.100.9",
    )

    device = response.json()["session"]["device"]
    assert device == {"ipAddress": "127.0.0.1", "userAgent": "Browser/7", "label": "Laptop"}


async def _user(edge: StandingEdge) -> str:
    if "alice" not in edge.service.user_ids:
        await edge.service.add_user()
    return "alice"


@pytest.mark.parametrize("path", ["/v1/login", "/v1/logout", "/v1/refresh", "/v1/revoke", "/v1/password"])
@pytest.mark.parametrize(
    "said",
    [{"origin": "https://evil.example"}, {"origin": ""}, {"origin": "", "sec_fetch_site": "cross-site"}],
)
async def test_other_pages(edge: StandingEdge, path: str, said: dict[str, str]) -> None:
    """Nothing changes at the word of a page of others, the login included, nor without anybody's."""
    visitor = edge.visitor()
    await visitor.log_in()
    body = {"username": "alice", "password": PASSWORD} if path == "/v1/login" else {}

    response = await visitor.ask("POST", path, body, **said)

    assert response.status_code == 403
    assert reason(response) == "ORIGIN_NOT_ALLOWED"
    assert "set-cookie" not in response.headers
    assert (await visitor.ask("GET", "/v1/session")).status_code == 200


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE"])
async def test_only_post_changes_anything(edge: StandingEdge, method: str) -> None:
    """No link and no image logs anybody in or out."""
    visitor = edge.visitor()
    await visitor.log_in()

    statuses = {
        (await visitor.ask(method, path)).status_code for path in ("/v1/login", "/v1/logout", "/v1/revoke")
    }

    assert statuses == {404}
    assert (await visitor.ask("GET", "/v1/session")).status_code == 200


async def test_errors_are_json(edge: StandingEdge) -> None:
    """Each error is google.rpc.Status as JSON, with the details that the server gave, Envoy's own errors too."""
    visitor = edge.visitor()

    wrong = await visitor.ask("POST", "/v1/login", {"username": await _user(edge), "password": "wrong"})
    empty = await visitor.ask("POST", "/v1/login", {})
    unread = await edge.client.post("/v1/login", content=b"{x", headers={"content-type": "application/json"})
    large = await visitor.ask("POST", "/v1/login", {"username": "x" * 70_000})
    nothing = await visitor.ask("GET", "/v1/nothing")
    elsewhere = await visitor.ask("GET", "/elsewhere")

    assert is_refused(wrong, 401, 16)
    assert reason(wrong) == "INVALID_CREDENTIALS"
    assert is_refused(empty, 400, 3)
    assert empty.json()["details"][1]["fieldViolations"][0]["field"] == "username"
    assert is_refused(unread, 400, 3)
    assert is_refused(large, 413, 3)
    assert is_refused(nothing, 404, 5)
    assert is_refused(elsewhere, 404, 5)


async def test_tokens_never_in_addresses(edge: StandingEdge) -> None:
    """A token in a query, which logs keep, is refused although it is good."""
    visitor = edge.visitor()
    await visitor.log_in()

    response = await edge.client.get(f"/v1/session?session_token={visitor.jar[SESSION]}")

    assert reason(response) == "INVALID_REQUEST"


async def test_headers_of_answers(edge: StandingEdge) -> None:
    """Answers are kept by nobody, run nothing, are framed by nobody, and tell nothing of what made them."""
    response = await edge.visitor().ask("GET", "/v1/session")

    expected = {
        "cache-control": "no-store",
        "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
        "referrer-policy": "no-referrer",
        "strict-transport-security": "max-age=31536000",
        "x-content-type-options": "nosniff",
        "x-frame-options": "DENY",
    }
    assert {name: response.headers.get(name) for name in expected} == expected
    assert not [name for name in response.headers if name.startswith(("server", "x-envoy"))]


async def test_cors(edge: StandingEdge) -> None:
    """Only pages of ours may read answers from elsewhere."""
    asked = {"access-control-request-method": "POST", "access-control-request-headers": "content-type"}

    ours = await edge.client.options("/v1/login", headers={"origin": edge.origin, **asked})
    others = await edge.client.options("/v1/login", headers={"origin": "https://evil.example", **asked})

    assert ours.headers["access-control-allow-origin"] == edge.origin
    assert "access-control-allow-origin" not in others.headers


async def test_well_known(edge: StandingEdge) -> None:
    """Keys and metadata (RFC 8414) are where verifiers look for them."""
    keys = (await edge.client.get("/.well-known/jwks.json")).json()
    metadata = (await edge.client.get("/.well-known/oauth-authorization-server")).json()

    assert keys["keys"]
    assert metadata["issuer"] == edge.origin
    assert metadata["jwks_uri"] == f"{edge.origin}/.well-known/jwks.json"


@pytest.mark.parametrize("path", ["/orders/..%2fv1/session", "/v1%2fsession", "/orders/%5c..%5cv1"])
async def test_paths_mean_one_thing(edge: StandingEdge, path: str) -> None:
    """A path that one program could read otherwise than another is refused."""
    response = await edge.client.get(httpx.URL(edge.origin).copy_with(raw_path=path.encode()))

    assert response.status_code == 400


async def test_cookies_of_others_stay_outside(edge: StandingEdge) -> None:
    """Whatever else is in the jar, however large, nobody is kept from logging in and out; planted ones are seen."""
    visitor = edge.visitor()
    await visitor.log_in()
    mine, large = (
        f"{SESSION}={visitor.jar[SESSION]}",
        "; ".join(f"c{number}={'aZ9' * 300}" for number in range(30)),
    )

    found = await visitor.ask("GET", "/v1/session", cookie=f"{large}; {mine}; z=1")
    nothing = await visitor.ask("GET", "/v1/session", cookie=large)
    planted = await visitor.ask("GET", "/v1/session", cookie=f"{mine}; {large}; {mine.lower()}")

    assert (found.status_code, nothing.status_code, planted.status_code) == (200, 401, 400)


@pytest.mark.skipif(CURL is None, reason="there is no curl here")
async def test_curl(edge: StandingEdge, tmp_path: Path) -> None:
    """The same with curl and its cookie jar: log in, who am I, refresh, log out, nobody."""
    user = await _user(edge)
    jar = str(tmp_path / "jar")

    async def curl(path: str, *more: str) -> tuple[int, dict[str, object]]:
        command = [
            *(
                "curl",
                "--silent",
                "--show-error",
                "--noproxy",
                "*",
                "--cacert",
                str(edge.certificate),
                "-b",
                jar,
                "-c",
                jar,
            ),
            *("-H", f"Origin: {edge.origin}", "-w", "\n%{http_code}", *more, f"{edge.origin}{path}"),
        ]
        process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        body, _, status = (await process.communicate())[0].decode().rpartition("\n")
        return int(status), json.loads(body)

    typed = ("--json", json.dumps({"username": user, "password": PASSWORD}))
    statuses = [
        (await curl("/v1/login", *typed))[0],
        (await curl("/v1/session"))[0],
        (await curl("/v1/refresh", "--json", "{}"))[0],
        (await curl("/v1/logout", "--json", "{}"))[0],
        (await curl("/v1/session"))[0],
    ]

    assert statuses == [200, 200, 200, 200, 401]


async def test_what_only_the_edge_says(edge: StandingEdge) -> None:
    """No request gets tokens into a body by claiming not to be a browser, or brings a key of its own along."""
    visitor = Visitor(edge)

    response = await visitor.ask(
        "POST",
        "/v1/login",
        {"username": await _user(edge), "password": PASSWORD, "cookies": False},
        x_authsvc_cookies="",
        authorization=f"Bearer {edge.service.keys['app']}",
    )

    assert response.status_code == 200
    assert set(visitor.jar) == {SESSION, REFRESH, DEVICE}
    assert "sessionToken" not in response.json()
    assert response.json()["session"]["clientId"] == "edge"
