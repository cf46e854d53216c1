"""Owns our cookies: their names, how they are read from what a browser sends, and how they are set and cleared.

Leaves when to set and clear them to `authsvc.rpc.cookie_delivery`. Names and attributes follow RFC 6265bis §4.1.3: a
browser takes `__Host-` and `__Secure-` cookies only over TLS, and the former only for this host and every path.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

SESSION = "__Host-authsvc_session"
REFRESH = "__Secure-authsvc_refresh"
DEVICE = "__Secure-authsvc_device"
LOGIN_PATH = "/v1/login"
REFRESH_PATH = "/v1/refresh"
# Where each is sent to, and whether links from other sites send it along: a page opened from a mail is logged in.
_SCOPES = {
    SESSION: "Path=/; Secure; HttpOnly; SameSite=Lax",
    REFRESH: f"Path={REFRESH_PATH}; Secure; HttpOnly; SameSite=Strict",
    DEVICE: f"Path={LOGIN_PATH}; Secure; HttpOnly; SameSite=Strict",
}
_BY_FOLDED = {name.casefold(): name for name in _SCOPES}
_VALUE = re.compile(r"[A-Za-z0-9._~+/=-]*")


class CookiesAmbiguous(Exception):
    """What was sent may be read in more than one way. The message says how, and holds no value."""


@dataclass(frozen=True, slots=True)
class Cookies:
    """What a browser sent: our tokens (empty: none), and the cookies that are not ours as they came."""

    session: str = field(default="", repr=False)
    refresh: str = field(default="", repr=False)
    device: str = field(default="", repr=False)
    others: str = field(default="", repr=False)

    @property
    def are_ours(self) -> bool:
        """Whether any of ours is among them."""
        return bool(self.session or self.refresh or self.device)


NO_COOKIES = Cookies()


def read_cookies(entries: Iterable[str]) -> Cookies:
    """Return what `cookie` entries say; HTTP/2 may split one header into several. Raises CookiesAmbiguous.

    Ours must come once, named exactly. A second one, or one that differs in case alone, was planted: by a neighbouring
    host, or over plain HTTP.
    """
    found: dict[str, str] = {}
    others = []
    for pair in "; ".join(entries).split(";"):
        name, _, value = (part.strip(" \t") for part in pair.partition("="))
        ours = _BY_FOLDED.get(name.casefold())
        if ours is None:
            others.append(pair.strip(" \t"))
            continue
        if name != ours or ours in found:
            raise CookiesAmbiguous(f"holds {ours} twice" if name == ours else f"holds {ours} in another case")
        found[ours] = value
    remaining = "; ".join(pair for pair in others if pair)
    return Cookies(found.get(SESSION, ""), found.get(REFRESH, ""), found.get(DEVICE, ""), remaining)


def set_cookie(name: str, token: str, max_age_s: int | None) -> str:
    """Return the `set-cookie` value for one of our tokens; without a maximum age it ends with the browser."""
    if not _VALUE.fullmatch(token):
        raise ValueError("a token of ours has no such characters")
    lasting = "" if max_age_s is None else f"; Max-Age={max_age_s}"
    return f"{name}={token}; {_SCOPES[name]}{lasting}"


def clear_cookies() -> list[str]:
    """Return the `set-cookie` values that end a login in a browser. What it knows of the device stays."""
    return [set_cookie(name, "", 0) for name in (SESSION, REFRESH)]
