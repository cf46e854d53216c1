"""Owns the pages: which there are, what surrounds each, and who may open them. Leaves what is on them to `pages/`.

A page holds nothing of anybody: its script asks for that, as JSON, with the cookies that the browser sends by itself.
Pages of an account open only for a live session; whoever has none is sent to log in, and then to where they wanted to
go.
"""

from dataclasses import dataclass
from html import escape
from importlib.resources import files
from string import Template

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from authsvc.core.contracts import StoreUnavailable
from authsvc.core.cookies import CookiesAmbiguous, read_cookies
from authsvc.core.errors import Overloaded, SessionNotActive
from authsvc.core.gate import RETURN_PARAMETER
from authsvc.http.answers import Endpoint, route
from authsvc.http.inside import Inside
from authsvc.http.known import etag, is_known
from authsvc.http.returning import HOME, LOGIN, login_for, own_path

ASSETS = "/account/assets"
_FOLDER = files("authsvc.http") / "pages"
_TYPES = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
_PAGE_HEADERS = {"content-security-policy": _POLICY, "cache-control": "no-store"}
# Kept, but asked about each time: a new version must never run with a part of the old one.
_ASSET_HEADERS = {"cache-control": "no-cache"}


@dataclass(frozen=True, slots=True)
class Page:
    """One page: its path, the name of its files, its title, and how the menu calls it (empty: not at all)."""

    path: str
    name: str
    title: str
    menu: str = ""


LOGIN_PAGE = Page(LOGIN, "login", "Log in")
INSPECTOR_PAGE = Page("/inspector", "inspector", "Token inspector")
ACCOUNT_PAGES = (
    Page(HOME, "sessions", "Where you are logged in", "Sessions"),
    Page(f"{HOME}/events", "events", "What has happened", "Activity"),
    Page(f"{HOME}/password", "password", "Change your password", "Password"),
    Page(f"{HOME}/second-factor", "factor", "Second factor", "Second factor"),
)
_DOWN_PAGE = Page("", "down", "Not now")


class Pages:
    """Answers with pages, and with the files that they are made of."""

    def __init__(self, inside: Inside) -> None:
        self._validator = inside.validator
        self._assets = _read_assets()
        self._values = {"password_min_length": str(inside.password_min_length)}
        self._down = self._composed(_DOWN_PAGE)

    def routes(self) -> list[Route]:
        """Return a route for each page, and one for all files."""
        account = [route(page.name, page.path, self._account(page)) for page in ACCOUNT_PAGES]
        return [
            route("login", LOGIN, self._login(self._composed(LOGIN_PAGE))),
            route("inspector", INSPECTOR_PAGE.path, self._public(self._composed(INSPECTOR_PAGE))),
            *account,
            route("assets", f"{ASSETS}/{{name}}", self._asset),
        ]

    def _public(self, content: bytes) -> Endpoint:
        async def public(_request: Request) -> Response:
            return _html(content)

        return public

    def _account(self, page: Page) -> Endpoint:
        content = self._composed(page)

        async def account(request: Request) -> Response:
            live = await self._is_logged_in(request)
            if live is None:
                return self._not_now()
            return _html(content) if live else _redirect(login_for(page.path))

        return account

    def _login(self, content: bytes) -> Endpoint:
        async def login(request: Request) -> Response:
            live = await self._is_logged_in(request)
            if live is None:
                return self._not_now()
            return (
                _redirect(own_path(request.query_params.get(RETURN_PARAMETER, "")))
                if live
                else _html(content)
            )

        return login

    async def _is_logged_in(self, request: Request) -> bool | None:
        """Whether the session of the request's cookie is live; None if that cannot be told now."""
        try:
            token = read_cookies(request.headers.getlist("cookie")).session
            if token:
                await self._validator.validate(token)
        except (CookiesAmbiguous, SessionNotActive):
            return False
        except (StoreUnavailable, Overloaded):
            return None
        return bool(token)

    def _not_now(self) -> Response:
        return _html(self._down, 503, {"retry-after": "1"})

    async def _asset(self, request: Request) -> Response:
        name = request.path_params["name"]
        content = self._assets.get(name)
        if content is None:
            return Response(status_code=404)
        headers = {**_ASSET_HEADERS, "etag": etag(content)}
        if is_known(request, headers["etag"]):
            return Response(status_code=304, headers=headers)
        return Response(content, headers=headers, media_type=_TYPES[name.rpartition(".")[2]])

    def _composed(self, page: Page) -> bytes:
        inner = Template(_read(f"{page.name}.html")).substitute(self._values)
        layout = Template(_read("layout.html"))
        script = f'<script type="module" src="{ASSETS}/{page.name}.js"></script>'
        return layout.substitute(
            title=escape(page.title),
            name=page.name,
            assets=ASSETS,
            menu=_menu(page) if page.menu else "",
            busy=' aria-busy="true"' if page.menu else "",
            main=inner,
            script=script if f"{page.name}.js" in self._assets else "",
        ).encode()


def _menu(current: Page) -> str:
    items = "".join(
        f'<li><a href="{page.path}"{" aria-current=page" if page is current else ""}>{escape(page.menu)}</a></li>'
        for page in ACCOUNT_PAGES
    )
    return (
        f'<nav aria-label="Account"><ul>{items}</ul></nav>'
        '<button type="button" id="logout" class="quiet">Log out</button>'
    )


def _html(content: bytes, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(content, status, {**_PAGE_HEADERS, **(headers or {})}, "text/html")


def _redirect(path: str) -> Response:
    return RedirectResponse(path, 303)


def _read(name: str) -> str:
    return (_FOLDER / name).read_text("utf-8")


def _read_assets() -> dict[str, bytes]:
    """The files that are served as they are, by name."""
    return {
        file.name: file.read_bytes() for file in _FOLDER.iterdir() if file.name.rpartition(".")[2] in _TYPES
    }
