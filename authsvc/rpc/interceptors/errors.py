"""Owns what becomes of exceptions: a refusal its status, anything else an incident. Leaves the table to rpc.errors.

No text of an unknown exception ever leaves; the log gets its type and its place (see authsvc.logs).
"""

from secrets import token_hex

import structlog

from authsvc.rpc.errors import Statuses
from authsvc.rpc.interceptors.handler import Refused

_log = structlog.get_logger("authsvc.incident")


class Errors:
    """Turns exceptions into statuses."""

    def __init__(self, statuses: Statuses) -> None:
        self._statuses = statuses

    def refused(self, error: Exception, method: str) -> Refused:
        """Return what the call ends with."""
        status = self._statuses.of(error)
        if status is None:
            incident = token_hex(8)
            _log.error("incident", incident=incident, method=method, exc_info=error)
            status = self._statuses.internal(incident)
        return Refused(status)
