"""Owns what is asked of calls that bring cookies: where they began, and for whom they speak. Leaves cookies to Call.

A browser sends cookies by itself, whoever makes it ask. So what changes anything must show that a page of ours began
it; the login too, or somebody could log a user in as somebody else. A client that authenticates itself by a key is no
browser; where it hands on what a browser said of the origin, that is judged all the same.
"""

from collections.abc import Awaitable
from typing import Any

from authsvc.core.callers import NOBODY, Callers
from authsvc.core.errors import CallerUnauthenticated, InvalidRequest, SessionNotActive
from authsvc.core.model import Permission
from authsvc.core.origins import Origins
from authsvc.rpc.call import Call
from authsvc.rpc.interceptors.handler import Handler, Method
from authsvc.rpc.policy import Open
from authsvc.v1 import auth_service_pb2 as pb


class Browsers:
    """Judges calls that bring cookies or ask for them. Where the rule judges who may, the cookie says who calls."""

    def __init__(self, callers: Callers, origins: Origins) -> None:
        self._callers = callers
        self._origins = origins

    def wrap(self, handler: Handler, method: Method) -> Handler:
        """Return the handler to use instead."""
        if method.row.needs is Open.JUDGED:
            handler = self._for_user(handler)
        if method.row.writes and method.row.needs is not Permission.ADMIN:
            handler = self._from_own_pages(handler)
        return handler

    def _from_own_pages(self, handler: Handler) -> Handler:
        def shown(request: Any, call: Call) -> Awaitable[Any]:
            if call.is_browsers or call.cookies.are_ours or getattr(request, "cookies", False):
                needed = call.is_browsers or not call.caller.is_client
                self._origins.check(call.get("origin"), call.get("sec-fetch-site"), needed)
            return handler(request, call)

        return shown

    def _for_user(self, handler: Handler) -> Handler:
        async def resolved(request: Any, call: Call) -> Any:
            if call.caller.user_id:
                raise InvalidRequest(("cookie", "must not come with a user's `authorization` beside it"))
            try:
                call.caller = await self._callers.resolve(call.cookies.session)
            except CallerUnauthenticated:
                if not _is_logout(request):
                    raise SessionNotActive from None
                call.caller = NOBODY
            return await handler(request, call)

        def known(request: Any, call: Call) -> Awaitable[Any]:
            if call.cookies.session:
                return resolved(request, call)
            if call.is_browsers:
                call.caller = NOBODY  # the edge's own key speaks for nobody
            return handler(request, call)

        return known


def _is_logout(request: Any) -> bool:
    """Whether the session of the cookie is to end: it may have ended already."""
    return isinstance(request, pb.RevokeRequest) and request.WhichOneof("target") is None
