"""Sessions in real Chromium, through real Envoy: what the browser is given, what it cannot do, and when it is out."""

import asyncio
import re
from urllib.parse import unquote, urlsplit

import pytest
from playwright.async_api import Page

from authsvc.core.clock import DAY, MINUTE, SECOND
from authsvc.core.contracts import StoreUnavailable
from authsvc.core.cookies import DEVICE, REFRESH, SESSION
from authsvc.v1 import auth_service_pb2 as pb
from tests.edge.browsing import (
    Site,
    asked,
    cookies,
    log_in,
    needs_site,
    run_page,
    session_token,
)
from tests.edge.proxies import Orders
from tests.parts.authenticator import Authenticator
from tests.parts.service import PASSWORD, bearer, outcome

pytestmark = [*needs_site, pytest.mark.asyncio(loop_scope="module"), pytest.mark.xdist_group("browser")]

_TOKEN = re.compile(r"at[src]_[A-Za-z0-9_-]{20,}|eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+\.")


async def is_live(site: Site, token: str) -> bool:
    """Whether a session token is good."""
    return await outcome(site.service.validate(token)) == "OK"


async def is_asked(page: Page, path: str) -> bool:
    """Wait until somebody is asked to log in; whether they will get to the path from there."""
    await page.wait_for_selector("#username")
    return unquote(urlsplit(page.url).query) == f"next={path}"


async def test_cookie(site: Site) -> None:
    """The browser keeps the session as a cookie that is for this host, TLS and no script, and goes when it closes."""
    page = await site.logged_in("alice")

    kept = await cookies(page)

    assert set(kept) == {SESSION, DEVICE}
    cookie, device = kept[SESSION], kept[DEVICE]
    assert (cookie["httpOnly"], cookie["secure"], cookie["sameSite"]) == (True, True, "Lax")
    assert (cookie["path"], cookie["domain"], cookie["expires"]) == ("/", "localhost", -1)
    assert (device["httpOnly"], device["secure"], device["sameSite"]) == (True, True, "Strict")
    assert device["path"] == "/v1/login"


async def test_cookie_of_who_stays(site: Site) -> None:
    """Who wishes to stay logged in has a cookie that lasts as long as the session can."""
    page = await site.person()
    await site.service.add_user("anna")
    await page.goto("/login")
    await page.check("#remember")
    await log_in(page, "anna")
    await page.wait_for_url(f"{site.origin}/account")

    lasting_ms = (await cookies(page))[SESSION]["expires"] * SECOND - site.service.clock()

    assert 89 * DAY < lasting_ms <= 90 * DAY + MINUTE


async def test_scripts_get_no_token(site: Site) -> None:
    """No script sees a token: not in document.cookie, in no storage, in no answer, whatever was asked for."""
    page = await site.person()
    await site.service.add_user("adam")
    await page.goto("/login")
    answers = [await asked(page, "POST", "/v1/login", {"username": "adam", "password": PASSWORD})]
    answers += [
        await asked(page, "GET", path) for path in ("/v1/session", "/v1/sessions", "/v1/security-events")
    ]
    answers.append(await asked(page, "POST", "/v1/refresh", {}))

    seen = await page.evaluate("document.cookie + JSON.stringify({ ...localStorage, ...sessionStorage })")
    answers.append(await asked(page, "POST", "/v1/logout", {}))

    assert [status for status, _ in answers] == [200] * 6
    assert seen == "{}"
    assert not _TOKEN.search(str(answers))


async def test_refresh_cookie(site: Site) -> None:
    """The refresh token is sent to the route that renews, and nowhere else."""
    page = await site.person()
    await site.service.add_user("amy")
    await page.goto("/login")
    await asked(page, "POST", "/v1/login", {"username": "amy", "password": PASSWORD})

    kept = (await cookies(page))[REFRESH]

    assert (kept["path"], kept["sameSite"], kept["httpOnly"], kept["secure"]) == (
        "/v1/refresh",
        "Strict",
        True,
        True,
    )


async def test_login_takes_a_new_session(site: Site) -> None:
    """A session that somebody planted beforehand is not the one that the user is in after the login."""
    planted = (await site.service.login("mallory")).session_token
    page = await site.person()
    cookie = {"name": SESSION, "value": planted, "url": site.origin, "secure": True, "httpOnly": True}
    await page.goto("/login")
    await page.context.add_cookies([cookie])  # type: ignore[list-item]

    await site.service.add_user("agnes")
    status, _ = await asked(page, "POST", "/v1/login", {"username": "agnes", "password": PASSWORD})

    assert status == 200
    assert await session_token(page) != planted


_POSTING = """async (url) => {
    const form = (path, body) => new Promise((done) => {
        const frame = document.createElement("iframe");
        frame.name = "into" + path;
        document.body.append(frame);
        const made = document.createElement("form");
        Object.assign(made, { method: "POST", action: url + path, target: frame.name, enctype: "text/plain" });
        const field = document.createElement("input");
        const at = body.length - 2;
        field.name = body.slice(0, at) + ',"x":"';
        field.value = '"}';
        made.append(field);
        document.body.append(made);
        made.submit();
        setTimeout(done, 150);
    });
    const send = (path, body, given) =>
        fetch(url + path, { method: "POST", credentials: "include", body, ...given }).then((r) => r.status, () => 0);
    const json = { headers: { "content-type": "application/json" } };
    const tried = { "/v1/logout": "{}", "/v1/revoke": '{"otherSessions":true}', "/v1/login": LOGIN };
    for (const [path, body] of Object.entries(tried)) {
        for (const given of [{}, { mode: "no-cors" }, json]) await send(path, body, given);
        await form(path, body);
    }
}"""


@pytest.mark.parametrize("who", ["neighbour", "stranger"])
async def test_nobody_else_acts(site: Site, who: str) -> None:
    """A page of another origin, of the same site even, can neither log a user out, nor end sessions, nor log them in as
    somebody else: its requests are refused. Guard: core/origins, asked in rpc/interceptors/browsers."""
    page = await site.logged_in("bob")
    other = await site.service.login("bob")
    mine = await session_token(page)
    await site.service.login("mallory")
    body = f'{{"username":"mallory","password":"{PASSWORD}"}}'
    refusals: list[tuple[str, int]] = []
    page.on("response", lambda each: refusals.append((each.url.removeprefix(site.origin), each.status)))

    async with run_page("<title>other</title>", site.certificate if who == "neighbour" else None) as origin:
        await page.goto(origin)
        await page.evaluate(_POSTING.replace("LOGIN", repr(body)), site.origin)

    reached = [status for path, status in refusals if path.startswith("/v1/")]
    assert len(reached) >= 6
    assert set(reached) <= {400, 403, 415}
    assert await session_token(page) == mine
    assert await is_live(site, mine)
    assert await is_live(site, other.session_token)


async def test_nobody_frames(site: Site) -> None:
    """Pages cannot be shown inside another page, where somebody could be made to press a button unseen. Guards, of
    which either will do: frame-ancestors in http/page_files, x-frame-options in http/answers."""
    page = await site.logged_in("bob")

    async with run_page(f'<iframe src="{site.origin}/account"></iframe>', site.certificate) as origin:
        await page.goto(origin)
        inside = page.frames[1]
        await inside.wait_for_load_state()

    assert inside.url.startswith("chrome-error://")


async def test_log_out(site: Site) -> None:
    """Logging out ends the session at the server, not only in the browser, and clears its cookies; what makes this a
    known device stays."""
    page = await site.logged_in("carol")
    token = await session_token(page)

    await page.click("#logout")
    await page.wait_for_selector("#username")

    assert set(await cookies(page)) == {DEVICE}
    assert not await is_live(site, token)


async def test_back_shows_nothing(site: Site) -> None:
    """After a logout the back button shows nothing of the account. Guard: no-store, in http/page_files."""
    page = await site.logged_in("carol")
    await page.goto("/account/events")
    await page.wait_for_selector("[data-event]")
    await page.click("#logout")
    await page.wait_for_selector("#username")

    await page.go_back(wait_until="commit")

    await page.wait_for_selector("#username")
    assert "/login" in page.url
    assert await page.locator("[data-event], [data-session]").count() == 0


async def test_forward_after_leaving_shows_nothing(site: Site) -> None:
    """A page of the account that the browser keeps in memory holds nothing any more: what it showed went with it."""
    page = await site.logged_in("carol")
    await page.wait_for_selector("[data-session]")
    await page.goto("/inspector")
    await page.context.clear_cookies()

    await page.go_back(wait_until="commit")

    await page.wait_for_selector("#username")
    assert await page.locator("[data-session]").count() == 0


async def test_ended_elsewhere(site: Site) -> None:
    """Ended in one browser, the other one is out at its next click, and back where it was after a login."""
    one, other = await site.logged_in("dora"), await site.logged_in("dora")
    await one.reload()
    await one.click("[data-session] button")
    await one.wait_for_selector("#said:not([hidden])")

    await other.click("nav a[href='/account/password']")

    assert await is_asked(other, "/account/password")
    await log_in(other, "dora")
    await other.wait_for_url(f"{site.origin}/account/password")
    assert await is_live(site, await session_token(one))


async def test_ended_elsewhere_while_asking(site: Site) -> None:
    """A click that asks only for JSON finds out, too."""
    one, other = await site.logged_in("dora"), await site.logged_in("dora", "/account/password")
    await site.service.revoke("root", token=await session_token(other))

    await other.fill("#current", PASSWORD)
    await other.fill("#new", "another long pass phrase")
    await other.click("#change button:not([type=button])")

    assert await is_asked(other, "/account/password")
    assert await is_live(site, await session_token(one))


async def test_end_all_others(site: Site) -> None:
    """All other sessions end at once, after a question; the one that asked goes on."""
    one, other = await site.logged_in("emma"), await site.logged_in("emma")
    await one.reload()
    await one.click("#end-others")
    await one.click("#confirm button[value=no]")
    kept = await is_live(site, await session_token(other))
    await one.click("#end-others")

    await one.click("#confirm button[value=yes]")
    await one.wait_for_selector("#said:not([hidden])")

    assert kept
    assert await one.locator("[data-session]").count() == 1
    assert await is_live(site, await session_token(one))
    assert not await is_live(site, await session_token(other))


async def test_refresh_in_two_tabs(site: Site) -> None:
    """Tabs that renew at the same time get the same new token; nobody is taken for a thief, nobody is logged out."""
    page = await site.person()
    await site.service.add_user("fred")
    await page.goto("/login")
    await asked(page, "POST", "/v1/login", {"username": "fred", "password": PASSWORD})
    tabs = [page, await page.context.new_page()]
    await tabs[1].goto("/account")
    before = (await cookies(page))[REFRESH]["value"]

    first = await asyncio.gather(*(asked(tab, "POST", "/v1/refresh", {}) for tab in tabs))
    between = (await cookies(page))[REFRESH]["value"]
    second = await asyncio.gather(*(asked(tab, "POST", "/v1/refresh", {}) for tab in tabs))

    assert [status for status, _ in (*first, *second)] == [200] * 4
    assert len({before, between, (await cookies(page))[REFRESH]["value"]}) == 3
    await page.goto("/account")
    await page.wait_for_selector("[data-session]")
    assert await is_live(site, await session_token(page))


async def test_idle(site: Site) -> None:
    """A session unused for its idle time is over at the next click, and a login leads on to what was wanted."""
    page = await site.logged_in("gina")
    token = await session_token(page)

    site.service.clock.move(31 * MINUTE)
    await page.click("nav a[href='/account/events']")

    assert await is_asked(page, "/account/events")
    await log_in(page, "gina")
    await page.wait_for_url(f"{site.origin}/account/events")
    assert await session_token(page) != token


async def test_service_behind(site: Site, orders: Orders) -> None:
    """Who wants a page of a service behind is sent to log in, gets there afterwards, and is out after a logout;
    the service gets a JWT for it and never the cookie, which the browser keeps to itself."""
    await site.service.add_user("paul")
    page = await site.person()
    await page.goto("/orders/7?sort=up")
    asked_first = await is_asked(page, "/orders/7?sort=up")
    before = len(orders.got)
    await log_in(page, "paul")
    await page.wait_for_url(f"{site.origin}/orders/7?sort=up")
    token = await session_token(page)
    got = orders.got[before]
    other = await page.context.new_page()
    await other.goto("/account")
    await other.click("#logout")
    await other.wait_for_selector("#username")
    reached = len(orders.got)

    await page.goto("/orders/8")

    assert asked_first
    assert await is_asked(page, "/orders/8")
    assert got["authorization"][0].startswith("Bearer eyJ")
    assert token not in str(orders.got)
    assert len(orders.got) == reached


async def test_no_way_out(site: Site) -> None:
    """A link to the login page leads nobody to another host after the login."""
    page = await site.person()
    await site.service.add_user("hugo")
    for wanted in ("//evil.example/", "/\\evil.example", "https://evil.example", "javascript:alert(1)"):
        await page.context.clear_cookies()
        await page.goto(f"/login?next={wanted}")

        await log_in(page, "hugo")

        await page.wait_for_url(f"{site.origin}/account")


async def test_wrong_password(site: Site) -> None:
    """Who does not get in is told so, in words that say nothing about the account, and nothing is set."""
    page = await site.person()
    await site.service.add_user("ivan")
    await page.goto("/login")
    said = []
    for username in ("ivan", "nobody at all"):
        await log_in(page, username, "not the password")
        await page.wait_for_selector("#problem:not([hidden])")
        said.append(await page.inner_text("#problem"))

    assert said == ["Username and password do not fit together. Check both."] * 2
    assert await cookies(page) == {}


async def test_change_password(site: Site) -> None:
    """Changing the password replaces it and ends the other sessions; what is wrong is said where it is wrong."""
    one, other = await site.logged_in("jane", "/account/password"), await site.logged_in("jane")
    new = "another long pass phrase"
    said = []
    for current, wanted in ((PASSWORD, "short"), ("not the password", new), (PASSWORD, "a" * 20)):
        await one.fill("#current", current)
        await one.fill("#new", wanted)
        await one.click("#change button:not([type=button])")
        await one.wait_for_selector(".fault:not([hidden])")
        said.append(await one.inner_text(".fault:not([hidden])"))

    await one.fill("#current", PASSWORD)
    await one.fill("#new", new)
    await one.click("#change button:not([type=button])")
    await one.wait_for_selector("#said:not([hidden])")

    assert said == [
        "Use at least 15 characters; this has 5.",
        "This is not your current password.",
        "Choose another one: this repeats a few characters over and over.",
    ]
    assert not await is_live(site, await session_token(other))
    assert await is_live(site, await session_token(one))
    wrong = pb.LoginRequest(username="jane", password=PASSWORD)
    assert (
        await outcome(site.service.auth.Login(wrong, metadata=site.service.by("web")))
        == "INVALID_CREDENTIALS"
    )


async def test_events(site: Site) -> None:
    """Somebody else's attempt at the password is there to be seen, with the place that it came from."""
    page = await site.logged_in("kate")
    stranger = await site.person(user_agent="Mozilla/5.0 (Windows NT 10.0) Gecko/20100101 Firefox/140.0")
    await stranger.goto("/login")
    await log_in(stranger, "kate", "not the password")
    await stranger.wait_for_selector("#problem:not([hidden])")

    await page.click("nav a[href='/account/events']")
    await page.wait_for_selector("[data-event='login.failed']")

    told = await page.inner_text("[data-event='login.failed']")
    assert "Firefox on Windows" in told
    assert "127.0.0.1" in told


async def test_scripts_cannot_speak_for_others(site: Site) -> None:
    """What a script of a page asks is asked for the cookie's user alone; another's session is none of theirs."""
    page = await site.logged_in("liam")
    other = await site.service.login("mona")

    listed, _ = await asked(page, "GET", f"/v1/sessions?userId={other.session.user_id}")
    ended, _ = await asked(page, "POST", "/v1/revoke", {"sessionId": other.session.id})
    by_token, _ = await asked(page, "POST", "/v1/revoke", {"token": other.session_token})

    assert (listed, ended) == (403, 403)
    assert by_token in (400, 403)
    assert await is_live(site, other.session_token)
    mine = pb.ListSessionsRequest()
    sessions = await site.service.auth.ListSessions(mine, metadata=bearer(await session_token(page)))
    assert len(sessions.sessions) == 1


async def test_second_factor(site: Site) -> None:
    """A second factor is set up in a page, and asked for at the next login; a recovery code will do, too."""
    page = await site.logged_in("nora", "/account/second-factor")
    await page.fill("#password", PASSWORD)
    await page.click("#begin button:not([type=button])")
    await page.wait_for_selector("#picture svg")
    secret = (await page.inner_text("#secret")).replace(" ", "")
    app = Authenticator(site.service, secret, "nora")
    await page.fill("#first-code", app.code())
    await page.click("#confirm button:not([type=button])")
    await page.wait_for_selector("#recovery code")
    recovery = await page.locator("#recovery code").all_inner_texts()
    await page.click("#logout")
    await page.wait_for_selector("#username")

    await log_in(page, "nora")
    await page.fill("#code", app.wrong_code())
    await page.click("#second button:not([type=button])")
    await page.wait_for_selector("#problem:not([hidden])")
    outside = await cookies(page)
    await page.fill("#code", app.next_code())
    await page.click("#second button:not([type=button])")
    await page.wait_for_url(f"{site.origin}/account")
    with_app = await session_token(page)
    again = await site.person()
    await again.goto("/login")
    await log_in(again, "nora")
    await again.click("#other-way")
    await again.fill("#code", recovery[0])
    await again.click("#second button:not([type=button])")
    await again.wait_for_url(f"{site.origin}/account")

    assert set(outside) == {DEVICE}
    assert len(recovery) >= 8
    assert await is_live(site, with_app)
    assert await is_live(site, await session_token(again))


async def test_service_gone(site: Site) -> None:
    """While nobody can tell whether somebody is logged in, they are told so, and stay logged in. Guard: `_not_now` in
    http/page_files."""
    page = await site.logged_in("olga")
    token = await session_token(page)
    stores = site.service.app.stores.sessions, site.service.app.cache.sessions

    async def gone(*_: object) -> None:
        raise StoreUnavailable

    with pytest.MonkeyPatch.context() as broken:
        broken.setattr(stores[0], "get_by_session_hash", gone)
        broken.setattr(stores[1], "validate", gone)
        answer = await page.goto("/account/events")
        said = await page.inner_text("main")
    await page.click("text=Try again")
    await page.wait_for_selector("[data-event]")

    assert answer is not None
    assert (answer.status, answer.headers["retry-after"]) == (503, "1")
    assert "you are still logged in" in said
    assert await session_token(page) == token
