"""Owns `authsvc serve`: the life of a server, from settings to the last call. Leaves its parts to `authsvc.app`.

It starts as soon as the database answers, and until then says what it waits for. SIGTERM and SIGINT end it: no new
calls, those under way finish, exit status 0. Logs are JSON on standard error.
"""

import asyncio
import signal
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import structlog
import typer
from prometheus_client import ProcessCollector, start_http_server

from authsvc import __version__, logs
from authsvc.app import AddressTaken, App, open_app
from authsvc.background import end_tasks
from authsvc.commands.connection import read
from authsvc.commands.failure import REFUSED, CommandFailed
from authsvc.commands.schema import check_schema
from authsvc.config import read_settings
from authsvc.core.clock import SECOND
from authsvc.core.contracts import StoreUnavailable
from authsvc.core.sealing import CannotUnseal
from authsvc.core.signing_keys import SigningKeyUnusable
from authsvc.outside import monotonic_clock
from authsvc.settings import Settings

_RETRY_S = 0.5
_SAY_AGAIN_MS = 10 * SECOND
_Result = TypeVar("_Result")
_log = structlog.get_logger("authsvc")

commands = typer.Typer(add_completion=False, rich_markup_mode="markdown")


@commands.command()
def serve() -> None:
    """Run a server with the settings in the AUTHSVC_… variables, until SIGTERM.

    Whatever is missing or unsafe in them is listed at once, with exit status 2. The database must have the schema of
    this version: `authsvc migrate` sees to it.
    """
    settings = read(read_settings)
    logs.configure(settings.log_level)
    asyncio.run(_serve(settings))


async def _serve(settings: Settings) -> None:
    stop = asyncio.Event()
    # Before the server starts: a signal must never find nobody listening.
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    app = await _unless(stop, _start(settings))
    if app is None:
        return
    try:
        with _metrics(app) as metrics:
            _log.info(
                "serving", address=_address(app), issuer=settings.issuer, metrics=metrics, version=__version__
            )
            await stop.wait()
            _log.info("stopping")
    finally:
        await app.stop(settings.drain_delay)
    _log.info("stopped")


async def _unless(stop: asyncio.Event, work: Coroutine[Any, Any, _Result]) -> _Result | None:
    """Return what the work returns; None if it is time to stop before that, and then the work has ended."""
    working, stopping = asyncio.create_task(work), asyncio.create_task(stop.wait())
    await asyncio.wait((working, stopping), return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if not working.done():
        await end_tasks([working])
    return None if working.cancelled() else working.result()


async def _start(settings: Settings) -> App:
    """Return a running instance, once the database answers. Raises CommandFailed."""
    said_at: int | None = None
    while True:
        try:
            app = await _start_now(settings)
        except StoreUnavailable as error:
            if said_at is None or monotonic_clock() - said_at >= _SAY_AGAIN_MS:
                said_at = monotonic_clock()
                _log.warning("waiting for the database", cause=_cause(error))
            await asyncio.sleep(_RETRY_S)
        else:
            await _look_at_cache(app)
            return app


async def _start_now(settings: Settings) -> App:
    await check_schema(settings.database_url.get_secret_value())
    app = await open_app(settings)
    try:
        await app.start()
    except BaseException as error:
        await app.stop()
        if isinstance(error, AddressTaken | SigningKeyUnusable):
            raise CommandFailed(str(error), REFUSED) from None
        if isinstance(error, CannotUnseal):
            raise CommandFailed(_SECRETS_LOST, REFUSED) from None
        raise
    return app


_SECRETS_LOST = (
    "the signing key in the database was sealed under a secret that AUTHSVC_SECRET_KEYS_FILE does not list; "
    "add that secret again, below the current one, and run `authsvc secrets reencrypt` before it is removed"
)


async def _look_at_cache(app: App) -> None:
    """The cache may be down, and all works without it, only slower: somebody should know."""
    try:
        await app.cache.ping()
    except StoreUnavailable:
        _log.warning("the cache does not answer; sessions are read from the database until it does")


@contextmanager
def _metrics(app: App) -> Iterator[str | None]:
    """Show metrics over HTTP, if that is asked for; gives the address. Raises CommandFailed."""
    place = app.settings.metrics_address
    if place is None:
        yield None
        return
    host, port = place
    ProcessCollector(registry=app.metrics)
    try:
        server, thread = start_http_server(port, host, app.metrics)
    except OSError as error:
        raise CommandFailed(
            f"cannot show metrics on {app.settings.metrics_listen}: {error.strerror}", REFUSED
        ) from None
    try:
        yield f"{host}:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _address(app: App) -> str:
    listen = app.settings.listen
    return listen if listen.startswith("unix:") else f"{listen.rpartition(':')[0]}:{app.port}"


def _cause(error: StoreUnavailable) -> str:
    cause = error.__cause__ or error
    return f"{type(cause).__name__}: {cause}"
