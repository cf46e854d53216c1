"""Tokens as cookies, over gRPC: what any caller that speaks for browsers gets and sends."""

from collections.abc import Iterable
from typing import Any

import grpc
import pytest

from authsvc.core.clock import DAY, HOUR, MINUTE, SECOND
from authsvc.core.contracts import StoreUnavailable
from authsvc.core.cookies import DEVICE, REFRESH, SESSION
from authsvc.v1 import auth_service_pb2 as pb
from tests.parts.service import ISSUER, PASSWORD, Service, outcome, reason_of, refusal

HERE = (("origin", ISSUER),)
THERE = (("origin", "https://evil.example"),)
EDGE = (("x-authsvc-cookies", "true"),)
Metadata = tuple[tuple[str, str], ...]


class Browser:
    """Keeps what `set-cookie` metadata say, and sends it."""

    def __init__(self) -> None:
        self.jar: dict[str, str] = {}
        self.attributes: dict[str, str] = {}

    def take(self, metadata: Any) -> None:
        """Do as a browser does with an answer."""
        for name, value in metadata or ():
            if name == "set-cookie":
                pair, _, attributes = value.partition("; ")
                key, _, token = pair.partition("=")
                self.attributes[key] = attributes
                if token:
                    self.jar[key] = token
                else:
                    self.jar.pop(key, None)

    def sends(self, *names: str) -> Metadata:
        """Metadata with these cookies, or all."""
        return (("cookie", "; ".join(f"{name}={self.jar[name]}" for name in names or self.jar)),)


async def log_in(
    service: Service, browser: Browser, metadata: Metadata = HERE, **wanted: Any
) -> pb.LoginResponse:
    """Log in as the client `web`, with cookies."""
    if "alice" not in service.user_ids:
        await service.add_user()
    request = pb.LoginRequest(username="alice", password=PASSWORD, cookies=True, **wanted)
    call = service.auth.Login(request, metadata=(*service.by("web"), *metadata))
    response = await call
    browser.take(await call.initial_metadata())
    return response


async def refresh(service: Service, browser: Browser, *more: tuple[str, str]) -> pb.RefreshResponse:
    """Refresh by cookie."""
    call = service.auth.Refresh(
        pb.RefreshRequest(), metadata=(*service.by("web"), *HERE, *browser.sends(REFRESH), *more)
    )
    response = await call
    browser.take(await call.initial_metadata())
    return response


def texts(response: Any) -> str:
    """All that a message says."""
    return str(response.SerializeToString())


async def test_tokens_are_in_cookies_alone(service: Service) -> None:
    """With cookies the tokens are in no message; each cookie is what RFC 6265bis and its prefix ask for."""
    browser = Browser()

    response = await log_in(service, browser)

    assert not response.session_token
    assert not response.HasField("tokens")
    assert response.session.username == "alice"
    assert not any(token in texts(response) for token in browser.jar.values())
    assert browser.attributes == {
        SESSION: "Path=/; Secure; HttpOnly; SameSite=Lax",
        REFRESH: "Path=/v1/refresh; Secure; HttpOnly; SameSite=Strict",
        DEVICE: f"Path=/v1/login; Secure; HttpOnly; SameSite=Strict; Max-Age={90 * DAY // SECOND}",
    }


@pytest.mark.parametrize(("credential", "name"), [(1, SESSION), (2, REFRESH)])
async def test_only_what_was_asked_for(service: Service, credential: int, name: str) -> None:
    """A credential that was not asked for is no cookie either."""
    browser = Browser()

    await log_in(service, browser, credentials=[credential])

    assert set(browser.jar) == {name, DEVICE}


async def test_remembered(service: Service) -> None:
    """Cookies outlive the browser only where the user wished to stay logged in, and no longer than the login lives."""
    service.clock.stop()
    browser = Browser()

    await log_in(service, browser, remember=True)

    assert browser.attributes[SESSION].endswith(f"; Max-Age={90 * DAY // SECOND}")
    service.clock.move(HOUR)
    await refresh(service, browser)
    assert browser.attributes[REFRESH].endswith(f"; Max-Age={(90 * DAY - HOUR) // SECOND}")


async def test_the_cookie_is_the_token(service: Service) -> None:
    """ValidateSession and ExchangeSession take the session from the cookie, in however many entries it comes."""
    browser = Browser()
    await log_in(service, browser)
    split = (("cookie", "a=1"), *browser.sends(SESSION), ("cookie", "b=2"))

    valid = await service.auth.ValidateSession(
        pb.ValidateSessionRequest(), metadata=(*service.by("gateway"), *split)
    )
    exchanged = await service.auth.ExchangeSession(
        pb.ExchangeSessionRequest(audiences=["orders"]), metadata=(*service.by("gateway"), *split)
    )

    assert valid.session.id == exchanged.session.id
    assert exchanged.access_token


async def test_the_cookie_says_who_calls(service: Service) -> None:
    """A user's own sessions are listed and ended by the cookie; that a client hands it on gives it nothing else."""
    browser, other = Browser(), Browser()
    mine = await log_in(service, browser)
    await log_in(service, other)
    metadata = (*service.by("web"), *HERE, *browser.sends(SESSION))

    listed = await service.auth.ListSessions(pb.ListSessionsRequest(), metadata=metadata)
    ended = await service.auth.Revoke(pb.RevokeRequest(other_sessions=True), metadata=metadata)

    assert [(each.id == mine.session.id, each.current) for each in listed.sessions] == [
        (False, False),
        (True, True),
    ]
    assert ended.revoked_count == 1
    assert await outcome(service.validate(other.jar[SESSION])) == "SESSION_NOT_ACTIVE"
    assert await outcome(service.validate(browser.jar[SESSION])) == "OK"


async def test_logout(service: Service) -> None:
    """Revoke without a target ends the session of the cookie, clears both cookies, and is fine a second time."""
    browser = Browser()
    await log_in(service, browser)
    session = browser.sends(SESSION)

    for _ in range(2):
        call = service.auth.Revoke(pb.RevokeRequest(), metadata=(*HERE, *session))
        await call
        browser.take(await call.initial_metadata())

    assert set(browser.jar) == {DEVICE}
    assert (
        await outcome(service.auth.ListSessions(pb.ListSessionsRequest(), metadata=session))
        == "SESSION_NOT_ACTIVE"
    )


async def test_ending_another_session_keeps_the_cookies(service: Service) -> None:
    """Only the end of the browser's own session clears its cookies."""
    browser = Browser()
    await log_in(service, browser)
    other = (await log_in(service, Browser())).session.id

    call = service.auth.Revoke(pb.RevokeRequest(session_id=other), metadata=(*HERE, *browser.sends(SESSION)))
    await call
    browser.take(await call.initial_metadata())

    assert set(browser.jar) == {SESSION, REFRESH, DEVICE}


async def test_refresh_by_cookie(service: Service) -> None:
    """A refresh token that came as a cookie goes back as one; no token is in the response."""
    browser = Browser()
    await log_in(service, browser)
    before = browser.jar[REFRESH]

    response = await refresh(service, browser)

    assert browser.jar[REFRESH] != before
    assert not response.HasField("tokens")
    assert response.session.id


async def test_two_tabs_refresh_at_once(service: Service) -> None:
    """Of two tabs with the same cookie both get the same successor, and nobody is logged out."""
    browser, tab = Browser(), Browser()
    await log_in(service, browser)
    tab.jar = dict(browser.jar)

    await refresh(service, browser)
    response = await refresh(service, tab)

    assert response.replayed
    assert tab.jar == browser.jar


async def test_dead_refresh_clears(service: Service) -> None:
    """What is refused for good is cleared, though the call fails: trailing metadata carry it, and no initial ones."""
    browser = Browser()
    await log_in(service, browser)
    await service.revoke(token=browser.jar[SESSION])
    cookies = browser.sends(REFRESH)

    call = service.auth.Refresh(pb.RefreshRequest(), metadata=(*service.by("web"), *HERE, *cookies))
    error = await refusal(call)
    browser.take(error.trailing_metadata())

    assert reason_of(error) == "REFRESH_TOKEN_NOT_ACTIVE"
    assert set(browser.jar) == {DEVICE}
    assert not [name for name, _ in await call.initial_metadata() or () if name == "set-cookie"]


async def test_reuse_clears(service: Service) -> None:
    """A refresh token that was stolen logs this browser out, too."""
    browser, thief = Browser(), Browser()
    await log_in(service, browser)
    thief.jar = dict(browser.jar)
    await refresh(service, browser)
    await refresh(service, browser)

    error = await refusal(refresh(service, thief))
    thief.take(error.trailing_metadata())

    assert reason_of(error) == "REFRESH_TOKEN_REUSED"
    assert set(thief.jar) == {DEVICE}


async def test_another_clients_refresh_clears_nothing(service: Service) -> None:
    """A refusal that says nothing about the token itself leaves the cookies."""
    browser = Browser()
    await log_in(service, browser)
    cookies = browser.sends(REFRESH)

    error = await refusal(
        service.auth.Refresh(pb.RefreshRequest(), metadata=(*service.by("app"), *HERE, *cookies))
    )

    assert reason_of(error) == "CALLER_NOT_PERMITTED"
    assert "set-cookie" not in dict(error.trailing_metadata() or ())


async def test_outage_clears_nothing(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """An outage never logs anybody out."""
    browser = Browser()
    await log_in(service, browser)

    async def down(*_: object, **__: object) -> None:
        raise StoreUnavailable

    for name in ("rotate", "get_by_session_hash"):
        monkeypatch.setattr(type(service.app.stores.sessions), name, down)

    refreshing = await refusal(refresh(service, browser))
    metadata = (*HERE, *browser.sends(SESSION))
    logging_out = await refusal(service.auth.Revoke(pb.RevokeRequest(), metadata=metadata))

    for error in (refreshing, logging_out):
        assert error.code() is grpc.StatusCode.UNAVAILABLE
        assert "set-cookie" not in dict(error.trailing_metadata() or ())


@pytest.mark.parametrize(
    "said", [THERE, (*THERE, ("sec-fetch-site", "same-origin")), (("sec-fetch-site", "cross-site"),)]
)
async def test_other_pages_change_nothing(service: Service, said: Metadata) -> None:
    """What a page of others begins is refused, the login too, whatever cookies come along and whoever hands it on."""
    browser = Browser()
    await log_in(service, browser)
    web, all_of_it = service.by("web"), browser.sends()
    calls: list[Any] = [
        log_in(service, Browser(), metadata=said),
        service.auth.Refresh(pb.RefreshRequest(), metadata=(*web, *said, *all_of_it)),
        service.auth.Revoke(pb.RevokeRequest(), metadata=(*said, *all_of_it)),
        service.auth.ChangePassword(pb.ChangePasswordRequest(), metadata=(*web, *said, *all_of_it)),
    ]

    refused = [await outcome(call) for call in calls]

    assert refused == ["ORIGIN_NOT_ALLOWED"] * 4


async def test_cookie_alone_needs_an_origin(service: Service) -> None:
    """Where a cookie is all that authenticates, silence about the origin is refused; a client's key is no cookie."""
    browser = Browser()
    await log_in(service, browser, metadata=())

    silent = await outcome(service.auth.Revoke(pb.RevokeRequest(), metadata=browser.sends(SESSION)))
    reading = await outcome(
        service.auth.ListSessions(pb.ListSessionsRequest(), metadata=browser.sends(SESSION))
    )

    assert (silent, reading) == ("ORIGIN_NOT_ALLOWED", "OK")


async def test_edges_browsers_need_an_origin(service: Service) -> None:
    """What the edge marks as a browser's shows its origin, although the edge has a key."""
    await service.add_user()
    request = pb.LoginRequest(username="alice", password=PASSWORD)

    refused = await outcome(service.auth.Login(request, metadata=(*service.by("web"), *EDGE)))

    assert refused == "ORIGIN_NOT_ALLOWED"


async def test_edges_browsers_get_no_token(service: Service) -> None:
    """On the edge's own route cookies need not be asked for, and no message brings or takes a token."""
    browser = Browser()
    await service.add_user()
    metadata = (*service.by("web"), *EDGE, *HERE)
    call = service.auth.Login(pb.LoginRequest(username="alice", password=PASSWORD), metadata=metadata)

    response = await call
    browser.take(await call.initial_metadata())
    token = browser.jar[SESSION]

    assert set(browser.jar) == {SESSION, REFRESH, DEVICE}
    assert not response.session_token
    assert not response.HasField("tokens")
    revoking = service.auth.Revoke(pb.RevokeRequest(token=token), metadata=metadata)
    refreshing = service.auth.Refresh(
        pb.RefreshRequest(refresh_token=browser.jar[REFRESH]), metadata=metadata
    )
    assert [await outcome(revoking), await outcome(refreshing)] == ["INVALID_REQUEST"] * 2


async def test_edges_browsers_without_cookies(service: Service) -> None:
    """Who brings no cookie through the edge is not logged in; the edge's key speaks for nobody. Logging out is fine."""
    metadata = (*service.by("web"), *EDGE, *HERE)
    calls: dict[str, Any] = {
        "Refresh": service.auth.Refresh(pb.RefreshRequest(), metadata=metadata),
        "ListSessions": service.auth.ListSessions(pb.ListSessionsRequest(), metadata=metadata),
        "StepUp": service.auth.StepUp(pb.StepUpRequest(password="x"), metadata=metadata),
        "Revoke": service.auth.Revoke(pb.RevokeRequest(), metadata=metadata),
    }

    ended = {name: await outcome(call) for name, call in calls.items()}

    assert ended == {
        "Refresh": "REFRESH_TOKEN_NOT_ACTIVE",
        "ListSessions": "CREDENTIALS_MISSING",
        "StepUp": "SESSION_NOT_ACTIVE",
        "Revoke": "OK",
    }


async def test_one_way_or_the_other(service: Service) -> None:
    """A token in a field and one in a cookie might be of two sessions: refused, whichever they are."""
    browser = Browser()
    await log_in(service, browser)
    tokens = (await service.login()).tokens
    session, all_of_it = browser.jar[SESSION], browser.sends()
    web, gateway = (*service.by("web"), *HERE, *all_of_it), (*service.by("gateway"), *all_of_it)
    by_user = (("authorization", f"Bearer {session}"), *browser.sends(SESSION))
    calls: Iterable[Any] = (
        service.auth.ValidateSession(pb.ValidateSessionRequest(session_token=session), metadata=gateway),
        service.auth.ExchangeSession(pb.ExchangeSessionRequest(session_token=session), metadata=gateway),
        service.auth.Refresh(pb.RefreshRequest(refresh_token=tokens.refresh_token), metadata=web),
        service.auth.Revoke(pb.RevokeRequest(token=session), metadata=web),
        service.auth.ListSessions(pb.ListSessionsRequest(), metadata=by_user),
    )

    refused = [await outcome(call) for call in calls]

    assert refused == ["INVALID_REQUEST"] * 5


async def test_planted_cookie(service: Service) -> None:
    """Two of one name, or one in another case, are refused before any of them is believed."""
    browser = Browser()
    await log_in(service, browser)
    token = browser.jar[SESSION]

    for cookie in (f"{SESSION}={token}; {SESSION}={token}", f"{SESSION.lower()}={token}"):
        metadata = (*service.by("gateway"), ("cookie", cookie))
        refused = await outcome(service.auth.ValidateSession(pb.ValidateSessionRequest(), metadata=metadata))

        assert refused == "INVALID_REQUEST"


async def test_step_up_by_cookie(service: Service) -> None:
    """A session that is stepped up gets its new token as a cookie, and no token is in the response."""
    browser = Browser()
    await log_in(service, browser)
    before = browser.jar[SESSION]
    metadata = (*service.by("web"), *HERE, *browser.sends(SESSION))

    call = service.auth.StepUp(pb.StepUpRequest(password=PASSWORD), metadata=metadata)
    response = await call
    browser.take(await call.initial_metadata())

    assert not response.session_token
    assert not response.access_token
    assert browser.jar[SESSION] != before
    assert await outcome(service.validate(browser.jar[SESSION])) == "OK"


async def test_the_edge_says_where_a_browser_is(service: Service) -> None:
    """What a browser says of its address counts for nothing; what the edge, a client with a key, says of it does."""
    await service.add_user()
    request = pb.LoginRequest(username="alice", password=PASSWORD)
    request.device.ip_address = "198.51.100.1"
    more = (("x-authsvc-address", "192.0.2.7"),)

    response = await service.auth.Login(request, metadata=(*service.by("web"), *EDGE, *HERE, *more))

    assert response.session.device.ip_address == "192.0.2.7"
    assert response.session.device.user_agent.startswith("grpc")


async def test_idle_session_logs_out(service: Service) -> None:
    """A session that has run out can still be logged out by its cookie, its refresh token with it."""
    browser = Browser()
    await log_in(service, browser)
    service.clock.move(31 * MINUTE)

    call = service.auth.Revoke(pb.RevokeRequest(), metadata=(*HERE, *browser.sends(SESSION)))
    response = await call
    error = await refusal(refresh(service, browser))

    assert response.revoked_count == 1
    assert reason_of(error) == "REFRESH_TOKEN_NOT_ACTIVE"
