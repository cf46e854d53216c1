"""Owns joining the HTTP listener with the rules. Leaves what is answered to `authsvc.http`."""

from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from prometheus_client import CollectorRegistry

from authsvc.app.listening import AddressTaken
from authsvc.core.caller import Caller
from authsvc.http.application import application
from authsvc.http.inside import Inside
from authsvc.http.listener import CannotListen, HttpListener
from authsvc.rpc.errors import Statuses
from authsvc.rpc.health import Health
from authsvc.rpc.over_http import http_code, http_headers, json_body
from authsvc.rpc.services import Services
from authsvc.settings import Settings, is_local_address


class HttpPort:
    """The port that speaks HTTP, if the settings ask for one.

    `port`: 0 before it is open, and for a Unix socket. `address`: as the settings have it, with the port that it has
    got; empty while it is not open.
    """

    def __init__(self) -> None:
        self.port = 0
        self.address = ""
        self._listener: HttpListener | None = None

    async def open(self, settings: Settings, inside: Inside, shares_port: bool) -> None:
        """Answer from now on. Raises AddressTaken."""
        if not settings.http_listen:
            return
        listener = HttpListener(application(inside), settings.certificates)
        try:
            self.port = await listener.start(settings.http_listen, shares_port=shares_port)
        except CannotListen as error:
            raise AddressTaken(str(error)) from None
        self._listener = listener
        host, _, _ = settings.http_listen.rpartition(":")
        self.address = f"{host}:{self.port}" if self.port else settings.http_listen

    def renew(self) -> None:
        """Show the new certificate."""
        if self._listener is not None:
            self._listener.renew()

    async def close(self) -> None:
        """Take no more requests, and finish those under way."""
        if self._listener is not None:
            await self._listener.stop()


def inside_of(
    settings: Settings,
    services: Services,
    anonymous: Caller | None,
    health: Health,
    metrics: CollectorRegistry,
    metrics_page: Callable[[], Awaitable[bytes]],
) -> Inside:
    """Return what the listener answers with."""
    statuses = Statuses(urlsplit(settings.issuer).hostname or "")

    def refused(error: Exception) -> tuple[int, str, dict[str, str]] | None:
        status = statuses.of(error)
        if status is None:
            return None
        code = http_code(status)
        return code, json_body(status), dict(http_headers(code))

    return Inside(
        issuer=settings.issuer,
        keys=services.keys,
        validator=services.validator,
        gate=services.gate,
        callers=services.callers,
        anonymous=anonymous,
        refused=refused,
        password_min_length=settings.password_min_length,
        is_serving=lambda: health.is_serving,
        metrics=metrics,
        metrics_page=metrics_page if is_local_address(settings.http_listen) else None,
    )
