"""Owns finding out where the user of a call is, once, where anybody will ask. Leaves whose word counts to
core.trusted_hops.

The edge says in metadata of its own where a browser is; it is a client like others, and its word counts as theirs does.
"""

from collections.abc import Awaitable
from typing import Any

from authsvc.core.trusted_hops import TrustedHops
from authsvc.rpc.call import ADDRESS_KEY, Call
from authsvc.rpc.interceptors.handler import Handler, Method
from authsvc.rpc.policy import Open

FORWARDED_KEY = "x-forwarded-for"


class Whereabouts:
    """Sets `call.where` for calls that speak of a device, and for those that users make themselves."""

    def __init__(self, hops: TrustedHops) -> None:
        self._hops = hops

    def wrap(self, handler: Handler, method: Method) -> Handler:
        """Return the handler to use instead."""
        has_device = "device" in method.descriptor.input_type.fields_by_name
        if not has_device and method.row.needs is not Open.JUDGED:
            return handler

        def located(request: Any, call: Call) -> Awaitable[Any]:
            reported = request.device.ip_address if has_device else ""
            if call.is_browsers:
                reported = "".join(call.get(ADDRESS_KEY)[:1])
            client_id = call.caller.client_id if call.caller.is_client else ""
            call.where = self._hops.find(call.peer_address, call.get(FORWARDED_KEY), client_id, reported)
            if call.is_browsers and has_device:
                request.device.user_agent = call.device.user_agent
            return handler(request, call)

        return located
