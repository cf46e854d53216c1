"""Owns showing metrics over HTTP, on a port of their own. Leaves which there are to whoever counts."""

from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, start_http_server

from authsvc.commands.failure import REFUSED, CommandFailed
from authsvc.settings import Settings


@contextmanager
def show_metrics(settings: Settings, metrics: CollectorRegistry) -> Iterator[str | None]:
    """Show metrics at `/metrics`, if the settings ask for it; gives the address. Raises CommandFailed."""
    place = settings.metrics_address
    if place is None:
        yield None
        return
    host, port = place
    try:
        server, thread = start_http_server(port, host, metrics)
    except OSError as error:
        raise CommandFailed(
            f"cannot show metrics on {settings.metrics_listen}: {error.strerror}", REFUSED
        ) from None
    try:
        yield f"{host}:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
