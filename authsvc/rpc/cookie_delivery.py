"""Owns tokens that travel as cookies: which requests bring one, and that none is left in a response then.

Leaves the cookies' form to core.cookies, and where browsers may act from to `interceptors.browsers`.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from authsvc.core.clock import SECOND, Clock
from authsvc.core.cookies import DEVICE, REFRESH, SESSION, clear_cookies, set_cookie
from authsvc.core.errors import (
    InvalidRequest,
    RefreshTokenNotActive,
    RefreshTokenReused,
    Refusal,
    SessionNotActive,
)
from authsvc.core.lifetimes import Lifetimes
from authsvc.core.model import Session
from authsvc.core.revoke import BySession, ByToken, ByUser, Target
from authsvc.rpc import requests
from authsvc.rpc.call import Call
from authsvc.v1 import auth_service_pb2 as pb

Response = pb.LoginResponse | pb.RefreshResponse | pb.StepUpResponse


def session_token(field: str, given: str, call: Call) -> str:
    """Return the session token of a request: the field's, or else the cookie's; empty if there is neither.

    Raises InvalidRequest if both are given, SessionNotActive if a browser brings no cookie.
    """
    return _one_of(field, given, call.cookies.session, call, SessionNotActive)


def refresh_token(request: pb.RefreshRequest, call: Call) -> str:
    """Return the refresh token of a request, likewise. Raises InvalidRequest, RefreshTokenNotActive."""
    return _one_of("refresh_token", request.refresh_token, call.cookies.refresh, call, RefreshTokenNotActive)


def device_token(request: pb.LoginRequest, call: Call) -> str:
    """Return the credential of the device: of a browser the cookie's; else the field's, or the cookie's."""
    return call.cookies.device if call.is_browsers else request.device_token or call.cookies.device


def _one_of(field: str, given: str, cookie: str, call: Call, missing: type[Refusal]) -> str:
    if given and cookie:
        raise InvalidRequest((field, "must not come with a cookie beside it"))
    if given and call.is_browsers:
        raise InvalidRequest((field, "must come as a cookie"))
    if call.is_browsers and not cookie:
        raise missing
    return given or cookie


def revoke_target(request: pb.RevokeRequest, call: Call) -> Target | None:
    """Return what a RevokeRequest names. None: a browser logs out that is not logged in. Raises InvalidRequest."""
    named = request.WhichOneof("target")
    if named == "token":
        session_token("token", request.token, call)
    if named is None and call.is_browsers and not call.cookies.session:
        return None
    return requests.revoke_target(request, call.cookies.session)


def clear_after(target: Target | None, call: Call) -> None:
    """Clear the cookies if what was revoked is the session that they are of."""
    match target:
        case None:
            own = True
        case ByToken(token):
            own = token == call.cookies.session
        case BySession(session_id):
            own = bool(call.cookies.session) and session_id == call.caller.session_id
        case _:
            own = bool(call.cookies.session) and isinstance(target, ByUser)
    if own:
        call.set_cookies = clear_cookies()


@contextmanager
def cleared_if_dead(call: Call) -> Iterator[None]:
    """Clear the cookies where a refresh token that came as one is refused for good. Anything else may be a race that
    another tab has won, or an outage: they stay."""
    try:
        yield
    except (RefreshTokenNotActive, RefreshTokenReused):
        if call.is_browsers or call.cookies.refresh:
            call.set_cookies = clear_cookies()
        raise


class CookieDelivery:
    """Hands tokens over as cookies."""

    def __init__(self, lifetimes: Lifetimes, known_device_ms: int, clock: Clock) -> None:
        self._lifetimes = lifetimes
        self._known_device_ms = known_device_ms
        self._clock = clock

    def move(self, response: Response, session: Session, call: Call) -> None:
        """Take every token out of a response; those for browsers become cookies."""
        cookies = []
        if not isinstance(response, pb.RefreshResponse) and response.session_token:
            age_s = self._max_age_s(session, session.session_expires_at)
            cookies.append(set_cookie(SESSION, response.session_token, age_s))
            response.ClearField("session_token")
        if not isinstance(response, pb.StepUpResponse) and response.HasField("tokens"):
            age_s = self._max_age_s(session, session.refresh_expires_at)
            cookies.append(set_cookie(REFRESH, response.tokens.refresh_token, age_s))
            response.ClearField("tokens")
        if isinstance(response, pb.LoginResponse) and response.device_token:
            cookies.append(set_cookie(DEVICE, response.device_token, self._known_device_ms // SECOND))
            response.ClearField("device_token")
        if isinstance(response, pb.StepUpResponse):
            for field in ("access_token", "token_type", "access_expire_time"):
                response.ClearField(field)
        call.set_cookies = cookies

    def _max_age_s(self, session: Session, expires_at: int | None) -> int | None:
        """How long a browser keeps a cookie: until it is closed, unless the user wished to stay logged in."""
        if expires_at is None or not self._lifetimes.are_remembered(session.session_idle_ms):
            return None
        return max(0, expires_at - self._clock()) // SECOND
