"""The pages: what they are made of, and who may open which."""

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from importlib.resources import files

import httpx
import pytest

from authsvc.core.clock import MINUTE
from authsvc.core.contracts import StoreUnavailable
from authsvc.core.cookies import SESSION
from authsvc.http.page_files import ACCOUNT_PAGES, ASSETS, INSPECTOR_PAGE, LOGIN_PAGE
from authsvc.http.returning import own_path
from tests.parts.listening import Listening

PAGES = [page.path for page in (LOGIN_PAGE, INSPECTOR_PAGE, *ACCOUNT_PAGES)]
ACCOUNT = [page.path for page in ACCOUNT_PAGES]
FILES = sorted(file.name for file in (files("authsvc.http") / "pages").iterdir())
# Names that are compared with, not fetched.
_NAMES = {"http://www.w3.org/2000/svg"}


class Markup(HTMLParser):
    """What a page is made of."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.inside: dict[str, str] = {}
        self._open = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        self._open = tag

    def handle_data(self, data: str) -> None:
        if self._open in ("script", "style"):
            self.inside[self._open] = self.inside.get(self._open, "") + data.strip()

    def all(self, *tags: str) -> Iterator[dict[str, str | None]]:
        """The attributes of every element of these kinds."""
        return (attributes for tag, attributes in self.found if tag in tags)


async def fetched(listening: Listening) -> list[httpx.Response]:
    """Every page; those of an account as somebody sees them who is logged in."""
    cookie = (await listening.service.login()).session_token
    answers = [await listening.get(path, cookie if path in ACCOUNT else "") for path in PAGES]
    assert {answer.status_code for answer in answers} == {200}
    return answers


async def opened(listening: Listening) -> list[Markup]:
    """Every page, taken apart."""
    return [Markup(answer.text) for answer in await fetched(listening)]


async def test_nothing_inline(listening: Listening) -> None:
    """A page holds no script, no style and no handler of its own, so a policy that forbids them holds."""
    for page in await opened(listening):
        handlers = [
            name for _, given in page.found for name in given if name.startswith("on") or name == "style"
        ]

        assert handlers == []
        assert all(given.get("src") for given in page.all("script"))
        assert not any(page.inside.values())
        assert not list(page.all("style"))


async def test_policy(listening: Listening) -> None:
    """A page runs, shows and asks only what is from here, cannot be framed, and cannot turn text into markup."""
    for answer in await fetched(listening):
        said = answer.headers["content-security-policy"]
        policy = dict(each.split(" ", 1) for each in said.split("; "))

        assert set(policy.values()) <= {"'none'", "'self'", "'script'"}
        assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == "'none'"
        assert policy["require-trusted-types-for"] == "'script'"
        assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("name", FILES)
def test_nothing_from_elsewhere(name: str) -> None:
    """No file names another host, so nothing of anybody else is ever fetched."""
    text = (files("authsvc.http") / "pages" / name).read_text()

    assert set(re.findall(r"https?://[^\s\"'`)]+", text)) <= _NAMES
    assert not re.search(
        r"\b(innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval|localStorage)\b", text
    )


async def test_for_everybody(listening: Listening) -> None:
    """A page says its language and what it is about, has one heading of the first rank, and a name for each field."""
    for page in await opened(listening):
        labelled = {given["for"] for given in page.all("label") if "for" in given}
        fields = [
            given
            for given in page.all("input", "textarea")
            if given.get("type") != "checkbox" and "hidden" not in given
        ]

        assert [given["lang"] for given in page.all("html")] == ["en"]
        assert len(list(page.all("h1"))) == 1
        assert {given["id"] for given in fields} <= labelled
        assert all("alt" in given for given in page.all("img"))


async def test_what_a_page_is_made_of_is_there(listening: Listening) -> None:
    """Whatever a page refers to under its files is served, with the type that a browser insists on."""
    for page in await opened(listening):
        wanted = {
            given[name]
            for _, given in page.found
            for name in ("src", "href")
            if (given.get(name) or "").startswith(ASSETS)
        }

        answers = [await listening.get(each or "") for each in wanted]

        assert len(answers) >= 3
        assert {answer.status_code for answer in answers} == {200}
        assert {answer.headers["content-type"].partition(";")[0] for answer in answers} == {
            "text/css",
            "text/javascript",
            "image/svg+xml",
        }


async def test_files_are_asked_about(listening: Listening) -> None:
    """A file is kept by the browser, and asked about each time, so that two versions are never mixed."""
    first = await listening.get(f"{ASSETS}/style.css")

    again = await listening.get(f"{ASSETS}/style.css", headers={"if-none-match": first.headers["etag"]})

    assert first.headers["cache-control"] == "no-cache"
    assert (again.status_code, again.content) == (304, b"")


async def test_no_other_file(listening: Listening) -> None:
    """Only the files that pages are made of are served, whatever is asked for."""
    names = (
        "login.html",
        "../page_files.py",
        "..%2fpage_files.py",
        "%2e%2e/inside.py",
        "nothing.js",
        ".css",
        "",
    )

    answers = [await listening.get(f"{ASSETS}/{name}") for name in names]

    assert {answer.status_code for answer in answers} == {404}


async def test_account_needs_a_session(listening: Listening) -> None:
    """A page of an account sends whoever has no live session to log in, and from there back to it. Guard: `_account` in
    http/page_files."""
    for path in ACCOUNT:
        login = await listening.service.login()

        before = await listening.get(path, login.session_token)
        await listening.service.revoke(token=login.session_token)
        after = await listening.get(path, login.session_token)
        without = await listening.get(path)

        assert before.status_code == 200
        for refused in (after, without):
            assert (refused.status_code, refused.headers["location"]) == (303, f"/login?next={path}")
            assert "set-cookie" not in refused.headers


async def test_idle_session_is_over(listening: Listening) -> None:
    """Opening a page counts as use; a session that has not been used for its idle time opens none."""
    login = await listening.service.login()
    clock = listening.service.clock

    clock.move(29 * MINUTE)
    used = await listening.get("/account", login.session_token)
    clock.move(29 * MINUTE)
    still = await listening.get("/account", login.session_token)
    clock.move(31 * MINUTE)
    over = await listening.get("/account", login.session_token)

    assert [each.status_code for each in (used, still, over)] == [200, 200, 303]


async def test_planted_cookie(listening: Listening) -> None:
    """A cookie that comes twice, or in another case, was planted: nobody is logged in by it."""
    token = (await listening.service.login()).session_token
    lower, upper = SESSION.lower(), SESSION.upper()
    planted = [f"{SESSION}={token}; {SESSION}={token}", f"{lower}={token}", f"{SESSION}=x; {upper}={token}"]

    answers = [await listening.web.get("/account", headers={"cookie": cookie}) for cookie in planted]

    assert {answer.status_code for answer in answers} == {303}


async def test_store_down(listening: Listening, monkeypatch: pytest.MonkeyPatch) -> None:
    """While nobody can tell whether a session is live, nobody is sent away and no cookie is touched: 503, not now."""
    login = await listening.service.login()

    async def down(*_: object) -> None:
        raise StoreUnavailable

    monkeypatch.setattr(listening.service.app.cache.sessions, "validate", down)
    monkeypatch.setattr(listening.service.app.stores.sessions, "get_by_session_hash", down)

    for path in ("/account", "/login"):
        answer = await listening.get(path, login.session_token)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert "set-cookie" not in answer.headers


HOSTILE = [
    "//evil.example",
    "///evil.example",
    "/\\evil.example",
    "\\\\evil.example",
    "https://evil.example",
    "https:/evil.example",
    "javascript:alert(1)",
    "evil.example",
    " //evil.example",
    "/\t/evil.example",
    "/\n/evil.example",
    "/%0d%0aset-cookie: a=b\r\nx",
    "/ok\r\nlocation: https://evil.example",
    "/a#b",
    "/ä",
    "/" + "a" * 3000,
    "/login",
    "/login?next=/login",
    "",
]


async def test_no_way_out(listening: Listening) -> None:
    """After a login nobody is sent to another host, whatever a link says, nor round in circles. Guard: `own_path`."""
    cookie = (await listening.service.login()).session_token

    answers = [await listening.get("/login", cookie, params={"next": wanted}) for wanted in HOSTILE]

    assert {(answer.status_code, answer.headers["location"]) for answer in answers} == {(303, "/account")}


async def test_no_host_but_this(listening: Listening) -> None:
    """Where people are sent to is a path, so that no `host` header of somebody's making leads them anywhere."""
    paths = ("/account", "/account/", "/login/", "//evil.example/account/", "/account/events/")

    answers = [await listening.get(path, headers={"host": "evil.example"}) for path in paths]

    assert [answer.status_code for answer in answers] == [303, 404, 404, 404, 404]
    assert "evil" not in str([answer.headers for answer in answers])


async def test_back_to_where_one_was(listening: Listening) -> None:
    """After a login one gets to the page of this origin that one wanted to open."""
    cookie = (await listening.service.login()).session_token
    wanted = ["/account/events", "/orders/7?sort=up&page=2", "/a%20b", "/", "/..//evil.example"]

    answers = [await listening.get("/login", cookie, params={"next": each}) for each in wanted]

    assert [answer.headers["location"] for answer in answers] == wanted
    assert [own_path(each) for each in wanted] == wanted
