"""Owns letting requests through an edge: whose they are, whether the service wants them, and what it gets to see.

Leaves how a proxy asks to `authsvc.rpc.ext_authz` and `authsvc.http.check`; both give the same answers. A browser
brings a cookie, a program a bearer token; the service behind gets neither the cookie nor the session token, but a JWT
for itself alone, and headers that say whose request it is. What cannot be judged is not let through.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import quote

from authsvc.core.caller import NOBODY, Caller
from authsvc.core.cookies import Cookies, CookiesAmbiguous, read_cookies
from authsvc.core.edge_tokens import EdgeTokens
from authsvc.core.errors import (
    AccessTokenInvalid,
    CallerNotPermitted,
    CallerUnauthenticated,
    CredentialsMissing,
    InvalidRequest,
    ScopeInsufficient,
    SessionNotActive,
)
from authsvc.core.origins import Origins
from authsvc.core.own_tokens import OwnTokens
from authsvc.core.tokens import Kind, kind_of
from authsvc.core.validate import SessionValidator

# The parameter of the login page that says where to go afterwards.
RETURN_PARAMETER = "next"
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_BEARER = "bearer "
# Every header that says whose a request is. A service may believe them because none of them comes from outside.
SUBJECT_HEADERS = ("x-authsvc-user", "x-authsvc-session", "x-authsvc-client", "x-authsvc-scopes")


class WishesUnusable(Exception):
    """What a route says that its service wants makes no sense. The message says why."""


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a service wants of whoever comes.

    `scopes`: what its token has, exactly; none: whatever the session has. `pages`: whoever is not logged in is sent to
    `login`, if a browser wants to show what it gets. `optional`: whoever is not logged in comes through as nobody.
    """

    audience: str
    scopes: tuple[str, ...] = ()
    pages: bool = False
    optional: bool = False
    login: str = "/login"


def read_wishes(given: Mapping[str, str]) -> Wishes:
    """Return the wishes in the names `audience`, `scopes` (separated by spaces or commas), `mode` (`api`, `page`),
    `optional` (`true`, `false`) and `login` (a path). Raises WishesUnusable."""
    unknown = set(given) - {"audience", "scopes", "mode", "optional", "login"}
    if unknown or not given.get("audience"):
        raise WishesUnusable(f"unknown: {', '.join(sorted(unknown))}" if unknown else "audience is missing")
    mode, optional, login = (
        given.get("mode", "api"),
        given.get("optional", "false"),
        given.get("login", "/login"),
    )
    if mode not in ("api", "page") or optional not in ("true", "false"):
        raise WishesUnusable("mode must be api or page, optional true or false")
    if not login.startswith("/") or login.startswith("//"):
        raise WishesUnusable("login must be a path")
    scopes = tuple(given.get("scopes", "").replace(",", " ").split())
    return Wishes(given["audience"], scopes, mode == "page", optional == "true", login)


@dataclass(frozen=True, slots=True)
class Arrival:
    """A request as it came to the edge. Header fields hold every value of their header."""

    method: str
    target: str
    """Path and query."""
    cookies: Sequence[str] = field(default=(), repr=False)
    authorization: Sequence[str] = field(default=(), repr=False)
    origins: Sequence[str] = ()
    sites: Sequence[str] = ()
    """Of `sec-fetch-site`."""
    accept: str = ""
    upgrade: str = ""

    @property
    def changes_things(self) -> bool:
        """Whether the request may change anything; opening a WebSocket does, whatever its method."""
        return self.method not in _SAFE_METHODS or bool(self.upgrade)

    @property
    def wants_page(self) -> bool:
        """Whether a browser wants to show the answer to somebody."""
        return self.method in ("GET", "HEAD") and "text/html" in self.accept and not self.upgrade


@dataclass(frozen=True, slots=True)
class Admitted:
    """What becomes of a request that passes: headers to set for the service, and to take away from it."""

    headers: Mapping[str, str] = field(repr=False)
    removed: tuple[str, ...]


class Gate:
    """Judges requests for services behind an edge."""

    def __init__(
        self, validator: SessionValidator, tokens: EdgeTokens, own_tokens: OwnTokens, origins: Origins
    ) -> None:
        self._validator = validator
        self._tokens = tokens
        self._own_tokens = own_tokens
        self._origins = origins

    async def admit(self, arrival: Arrival, wishes: Wishes, caller: Caller) -> Admitted:
        """Return what to change on the way; `caller` is the edge.

        Raises CredentialsMissing, SessionNotActive, CallerUnauthenticated and the AccessToken… refusals (log in, then
        try again); OriginNotAllowed, CallerNotPermitted, ScopeInsufficient, InvalidRequest (do not); Overloaded,
        StoreUnavailable, SigningKeyUnusable (nothing is known).
        """
        cookies = _read(arrival.cookies)
        bearer = _bearer(arrival.authorization)
        if bearer and cookies.session:
            raise InvalidRequest(("authorization", "must not come with a session cookie beside it"))
        if cookies.session:
            return await self._by_cookie(arrival, cookies, wishes, caller)
        if bearer:
            return await self._by_bearer(bearer, cookies, wishes, caller)
        if not wishes.optional:
            raise CredentialsMissing
        return _admitted({}, NOBODY, (), cookies)

    async def _by_cookie(
        self, arrival: Arrival, cookies: Cookies, wishes: Wishes, caller: Caller
    ) -> Admitted:
        if arrival.changes_things:
            self._origins.check(arrival.origins, arrival.sites)
        try:
            return await self._by_session(cookies.session, cookies, wishes, caller)
        except SessionNotActive:
            if not wishes.optional:
                raise
            return _admitted({}, NOBODY, (), cookies)

    async def _by_bearer(self, bearer: str, cookies: Cookies, wishes: Wishes, caller: Caller) -> Admitted:
        if kind_of(bearer) is Kind.SESSION:
            return await self._by_session(bearer, cookies, wishes, caller)
        token = self._own_tokens.check(bearer)  # keys and refresh tokens are none: they are for authsvc alone
        if wishes.audience not in token.audiences:
            raise AccessTokenInvalid
        if not token.scopes.issuperset(wishes.scopes):
            raise ScopeInsufficient
        who = Caller(client_id=token.client_id, user_id=token.subject, session_id=token.session_id)
        return _admitted({"authorization": f"Bearer {bearer}"}, who, tuple(sorted(token.scopes)), cookies)

    async def _by_session(self, text: str, cookies: Cookies, wishes: Wishes, caller: Caller) -> Admitted:
        live = await self._validator.validate(text)
        try:
            ready = self._tokens.get(live, wishes.audience, wishes.scopes, caller)
        except InvalidRequest as error:
            beyond_scopes = any(name == "scopes" for name, _ in error.violations)
            raise (ScopeInsufficient if beyond_scopes else CallerNotPermitted) from None
        who = Caller(client_id=ready.client_id, user_id=live.user_id, session_id=live.id)
        return _admitted({"authorization": f"Bearer {ready.access.text}"}, who, ready.access.scopes, cookies)


def login_address(arrival: Arrival, wishes: Wishes) -> str | None:
    """Return where to send whoever is not logged in; None where that is to be told by a status alone."""
    if not wishes.pages or not arrival.wants_page:
        return None
    return f"{wishes.login}?{RETURN_PARAMETER}={quote(arrival.target, safe='/')}"


def _read(entries: Sequence[str]) -> Cookies:
    try:
        return read_cookies(entries)
    except CookiesAmbiguous as error:
        raise InvalidRequest(("cookie", str(error))) from None


def _bearer(values: Sequence[str]) -> str:
    if not values:
        return ""
    if len(values) > 1 or values[0][: len(_BEARER)].lower() != _BEARER or len(values[0]) == len(_BEARER):
        raise CallerUnauthenticated
    return values[0][len(_BEARER) :]


def _admitted(headers: dict[str, str], who: Caller, scopes: tuple[str, ...], cookies: Cookies) -> Admitted:
    values = (who.user_id, who.session_id, who.client_id, " ".join(scopes))
    headers |= {name: value for name, value in zip(SUBJECT_HEADERS, values, strict=True) if value}
    if cookies.others:
        headers["cookie"] = cookies.others
    return Admitted(headers, tuple({"authorization", "cookie", *SUBJECT_HEADERS} - set(headers)))
