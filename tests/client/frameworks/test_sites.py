"""Every framework guards alike: each test runs on all of them."""

from collections.abc import AsyncIterator

import pytest

from authsvc_client import Verifier
from authsvc_client.testing import FakeAuthService, MovableClock, TokenMinter
from tests.client.frameworks.sites import KINDS, Site, run_site

MINUTE = 60_000


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """The framework."""
    return str(request.param)


@pytest.fixture
async def site(kind: str, authsvc_verifier: Verifier) -> AsyncIterator[Site]:
    """A site that verifies alone."""
    async with run_site(kind, authsvc_verifier) as running:
        yield running


@pytest.fixture
async def asking_site(
    kind: str, authsvc_verifier: Verifier, authsvc_server: FakeAuthService
) -> AsyncIterator[Site]:
    """A site that asks authsvc about session tokens."""
    async with run_site(kind, authsvc_verifier, authsvc_server) as running:
        yield running


async def test_a_good_token_is_let_in(site: Site, authsvc_minter: TokenMinter) -> None:
    """A request with a good access token is handled for its user, in the request and in the context."""
    response = await site.get("/orders/1", authsvc_minter.mint("user-1"))

    assert (response.status, response.body) == (200, {"user": "user-1", "context": "user-1"})


async def test_without_a_token(site: Site) -> None:
    """A request without a token is 401, not to be cached, with a challenge that names no error (RFC 6750 §3.1)."""
    response = await site.get("/orders")

    assert response.status == 401
    assert response.headers["www-authenticate"] == 'Bearer realm="auth.test"'
    assert response.headers["cache-control"] == "no-store"
    assert response.body["reason"] == "CREDENTIALS_MISSING"
    assert response.body["domain"] == "auth.test"


async def test_a_bad_token_is_told_why(
    site: Site, authsvc_minter: TokenMinter, authsvc_clock: MovableClock
) -> None:
    """Expired, revoked, foreign and senseless tokens are 401 `invalid_token`, each with its reason."""
    revoked = authsvc_minter.mint()
    authsvc_minter.revoke(revoked)
    tokens = {
        "ACCESS_TOKEN_EXPIRED": authsvc_minter.mint(ttl_ms=-MINUTE),
        "ACCESS_TOKEN_REVOKED": revoked,
        "ACCESS_TOKEN_INVALID": authsvc_minter.mint(audiences=["billing"]),
        "CALLER_UNAUTHENTICATED": "ats_" + "A" * 56,  # and nobody to ask about it
    }

    responses = {reason: await site.get("/orders", token) for reason, token in tokens.items()}
    senseless = await site.get("/orders", "nonsense")

    assert [each.body["reason"] for each in responses.values()] == list(tokens)
    assert senseless.body["reason"] == "ACCESS_TOKEN_INVALID"
    for each in (*responses.values(), senseless):
        assert each.status == 401
        assert 'error="invalid_token"' in each.headers["www-authenticate"]


async def test_scopes_are_asked_for(site: Site, authsvc_minter: TokenMinter) -> None:
    """A token without every scope of the rule is 403 `insufficient_scope`, which names them; with all it is let in."""
    one = authsvc_minter.mint(scopes=["orders.read"])
    both = authsvc_minter.mint(scopes=["orders.read", "orders.write"])

    refused = await site.get("/orders/all/of/them", one)
    allowed = await site.get("/orders/all/of/them", both)

    assert (refused.status, refused.body["reason"]) == (403, "SCOPE_INSUFFICIENT")
    challenge = 'Bearer realm="auth.test", error="insufficient_scope", scope="orders.read orders.write"'
    assert refused.headers["www-authenticate"] == challenge
    assert allowed.status == 200


async def test_a_public_path_asks_nothing(site: Site) -> None:
    """On a public path even a bad token is not looked at, and there is no principal."""
    response = await site.get("/health/live", "nonsense")

    assert (response.status, response.body) == (200, {"user": None, "context": None})


async def test_no_rule_means_no(site: Site, authsvc_minter: TokenMinter) -> None:
    """A path that no rule covers is refused, whatever token comes with it; so is one that may mean another."""
    token = authsvc_minter.mint()

    statuses = [(await site.get(path, token)).status for path in ("/other", "/orders-old", "/health//orders")]

    assert statuses == [403, 403, 403]


async def test_a_principal_does_not_leak(site: Site, authsvc_minter: TokenMinter) -> None:
    """The request after a guarded one has no principal of it."""
    await site.get("/orders", authsvc_minter.mint("user-1"))

    response = await site.get("/health")

    assert response.body == {"user": None, "context": None}


async def test_a_session_cookie_is_asked_about(asking_site: Site, authsvc_server: FakeAuthService) -> None:
    """A session token, from the cookie or the header, is validated by authsvc until its session ends."""
    login = authsvc_server.log_in("alice")
    cookie = f"theme=dark; __Host-authsvc_session={login.session_token}"

    by_cookie = await asking_site.get("/orders", cookie=cookie)
    by_header = await asking_site.get("/orders", login.session_token)
    authsvc_server.revoke_session(login.session.id)
    ended = await asking_site.get("/orders", cookie=cookie)

    user_id = login.session.user_id
    assert by_cookie.body == by_header.body == {"user": user_id, "context": user_id}
    assert (ended.status, ended.body["reason"]) == (401, "SESSION_NOT_ACTIVE")


async def test_not_knowing_is_not_refusing(asking_site: Site, authsvc_server: FakeAuthService) -> None:
    """While authsvc cannot answer, a session token is 503 with advice when to try again, never 401."""
    login = authsvc_server.log_in("alice")
    authsvc_server.go_down()

    response = await asking_site.get("/orders", login.session_token)

    assert (response.status, response.body["reason"]) == (503, "DEPENDENCY_UNAVAILABLE")
    assert response.headers["retry-after"] == "1"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"sec_fetch_site": "cross-site"}, 403),
        ({"sec_fetch_site": "same-site", "origin": "https://blog.shop.example"}, 403),
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"sec_fetch_site": "same-origin", "origin": "https://shop.example"}, 200),
        ({"origin": "https://shop.example"}, 200),
        ({}, 200),
    ],
)
async def test_a_cookie_of_another_site_changes_nothing(
    asking_site: Site, authsvc_server: FakeAuthService, headers: dict[str, str], status: int
) -> None:
    """A POST with the session cookie must come from this site; reading need not."""
    cookie = f"__Host-authsvc_session={authsvc_server.log_in('alice').session_token}"

    posted = await asking_site.request("POST", "/orders", cookie=cookie, **headers)
    read = await asking_site.get("/orders", cookie=cookie, **headers)

    assert (posted.status, read.status) == (status, 200)


async def test_a_header_comes_from_anywhere(site: Site, authsvc_minter: TokenMinter) -> None:
    """A token in the header is never sent unasked, so where the request comes from does not matter."""
    token = authsvc_minter.mint()

    response = await site.request("POST", "/orders", token, sec_fetch_site="cross-site")

    assert response.status == 200


async def test_two_cookies_are_none(asking_site: Site, authsvc_server: FakeAuthService) -> None:
    """Two different session cookies are refused: one of them was planted."""
    one, other = authsvc_server.log_in("alice"), authsvc_server.log_in("mallory")
    cookie = f"__Host-authsvc_session={one.session_token}; __Host-authsvc_session={other.session_token}"

    response = await asking_site.get("/orders", cookie=cookie)

    assert (response.status, response.body["reason"]) == (401, "CALLER_UNAUTHENTICATED")


async def test_a_strict_path_wants_fresh_news(site: Site, authsvc_minter: TokenMinter) -> None:
    """While revocations have not been heard of for 5 s, a strict path is 503; others go on."""
    token = authsvc_minter.mint()
    before = await site.get("/strict", token)
    authsvc_minter.lose_touch(5_001)

    strict, other = await site.get("/strict", token), await site.get("/orders", token)

    assert (before.status, strict.status, other.status) == (200, 503, 200)
    assert strict.body["reason"] == "VIEW_TOO_OLD"


async def test_a_revision_that_is_no_number(site: Site, authsvc_minter: TokenMinter) -> None:
    """A senseless `authsvc-min-revision` is 400; one that was reached is let through."""
    token = authsvc_minter.mint()

    senseless = await site.get("/orders", token, authsvc_min_revision="newest")
    reached = await site.get("/orders", token, authsvc_min_revision="0")

    assert (senseless.status, senseless.body["reason"]) == (400, "INVALID_REQUEST")
    assert reached.status == 200


async def test_a_defect_lets_nobody_in(
    site: Site, authsvc_minter: TokenMinter, authsvc_verifier: Verifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever goes wrong while judging, the request is 500 and no text of it leaves."""
    monkeypatch.setattr(authsvc_verifier, "verify", lambda _token: 1 / 0)

    response = await site.get("/orders", authsvc_minter.mint())

    assert (response.status, response.body["reason"]) == (500, "INTERNAL")
    assert "division" not in str(response.body)
