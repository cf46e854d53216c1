"""Owns joining the HTTP listener with the rules. Leaves what is answered to `authsvc.http`."""

from authsvc.app.listening import AddressTaken
from authsvc.http.application import application
from authsvc.http.inside import Inside
from authsvc.http.listener import CannotListen, HttpListener
from authsvc.settings import Settings


class HttpPort:
    """The port that speaks HTTP, if the settings ask for one. `port`: 0 before it is open, and for a Unix socket."""

    def __init__(self) -> None:
        self.port = 0
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

    async def close(self) -> None:
        """Take no more requests, and finish those under way."""
        if self._listener is not None:
            await self._listener.stop()
