"""Owns finding out who calls, once per call, and whether the policy row lets them. Leaves callers to core.callers.

`authorization` says who calls; only where there is none does the certificate of the connection. So a wrong key is
refused whatever the certificate, and an edge that has a certificate can call for a user.
"""

from collections.abc import Awaitable
from typing import Any

from authsvc.core.callers import NOBODY, Caller, Callers
from authsvc.core.errors import CallerNotPermitted, CallerUnauthenticated, CredentialsMissing
from authsvc.core.model import Permission
from authsvc.rpc.call import Call
from authsvc.rpc.interceptors.handler import Handler, Method
from authsvc.rpc.policy import Open

_BEARER = "bearer "


class Authenticate:
    """Resolves the caller and applies the policy row.

    `anonymous` stands in for callers on this machine that send no `authorization`; None outside development.
    """

    def __init__(self, callers: Callers, anonymous: Caller | None = None) -> None:
        self._callers = callers
        self._anonymous = anonymous

    def wrap(self, handler: Handler, method: Method) -> Handler:
        """Return the handler to use instead."""
        needs = method.row.needs
        if needs is Open.PUBLIC:
            return handler
        required = needs if isinstance(needs, Permission) else None
        streams = method.descriptor.server_streaming

        def permitted(request: Any, call: Call) -> Awaitable[Any]:
            if required is not None and required not in call.caller.permissions:
                raise CallerNotPermitted if call.caller.is_known else CredentialsMissing
            return handler(request, call)

        async def resolved(request: Any, call: Call, bearer: str) -> Any:
            if bearer:
                call.caller = await self._callers.resolve(bearer)
            else:
                call.caller = await self._callers.resolve_certificate(call.certificate_names or ())
            return await permitted(request, call)

        def authenticated(request: Any, call: Call) -> Awaitable[Any]:
            bearer = _bearer(call)
            if streams:
                call.may_go_on = lambda: self._has_still(required, bearer, call)
            # A client key is known without I/O; so the path that most calls take has no await in it.
            caller = self._callers.known(bearer) if bearer else self._without_bearer(call)
            if caller is None:
                return resolved(request, call, bearer)
            call.caller = caller
            if required in caller.permissions:
                return handler(request, call)
            return permitted(request, call)

        return authenticated

    def _has_still(self, required: Permission | None, bearer: str, call: Call) -> bool:
        """Whether a stream may go on: a client's key or permission may be gone since it began."""
        caller = self._callers.known(bearer) if bearer else self._without_bearer(call)
        return caller is not None and required in caller.permissions

    def _without_bearer(self, call: Call) -> Caller | None:
        names = call.certificate_names
        if names is not None:
            return self._callers.known_by_certificate(names)
        return self._anonymous if self._anonymous is not None and call.is_local else NOBODY


def _bearer(call: Call) -> str:
    """The bearer of the one `authorization` entry; empty if there is none. Raises CallerUnauthenticated."""
    found = ""
    for key, value in call.metadata:
        if key == "authorization":
            if (
                found
                or not isinstance(value, str)
                or value[:7].lower() != _BEARER
                or len(value) == len(_BEARER)
            ):
                raise CallerUnauthenticated
            found = value[7:]
    return found
