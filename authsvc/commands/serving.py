"""Owns the life of an instance in a process: started as soon as the database answers, ended when it is time.

`serve` runs one such process, or several as workers (`working`). Leaves its parts to `authsvc.app`.
"""

import asyncio
import gc
import signal
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import structlog

from authsvc import __version__
from authsvc.app import AddressTaken, App, open_app
from authsvc.background import end_tasks
from authsvc.commands.failure import REFUSED, CommandFailed
from authsvc.commands.metrics_page import show_metrics
from authsvc.commands.schema import check_schema
from authsvc.commands.start_report import refuse_unsafe
from authsvc.core.clock import SECOND
from authsvc.core.contracts import StoreUnavailable
from authsvc.core.sealing import CannotUnseal
from authsvc.core.signing_keys import SigningKeyUnusable
from authsvc.hashing.processes import HashingProcesses
from authsvc.outside import monotonic_clock
from authsvc.settings import Settings
from authsvc.settings.certificate_files import CertificatesUnusable

_RETRY_S = 0.5
_SAY_AGAIN_MS = 10 * SECOND
_Result = TypeVar("_Result")
_log = structlog.get_logger("authsvc")


async def serve_alone(settings: Settings) -> None:
    """Run an instance until SIGTERM or SIGINT. Raises CommandFailed."""
    stop = stop_on_signals()
    async with serving(settings, stop) as app:
        if app is None:
            return
        with show_metrics(settings, app.metrics) as metrics:
            _log.info(
                "serving",
                address=address_of(app),
                mtls_address=_mtls_address(app),
                http=app.http.address or None,
                issuer=settings.issuer,
                metrics=metrics,
                version=__version__,
            )
            await stop.wait()
            _log.info("stopping")
    _log.info("stopped")


def stop_on_signals() -> asyncio.Event:
    """Return what SIGTERM and SIGINT set from now on. Called first: a signal must never find nobody listening."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


@asynccontextmanager
async def serving(
    settings: Settings, stop: asyncio.Event, *, shares_port: bool = False
) -> AsyncIterator[App | None]:
    """Run an instance for the length of the block; None if it was time to stop before it served.

    `shares_port`: others listen there, too. Raises CommandFailed.
    """
    app = await _unless(stop, _start(settings, shares_port))
    try:
        yield app
    finally:
        if app is not None:
            await app.stop(settings.drain_delay)


def address_of(app: App) -> str:
    """Where an instance listens."""
    return _with_port(app.settings.listen, app.port)


def _mtls_address(app: App) -> str | None:
    """Where it listens for clients with certificates alone; None: nowhere."""
    port = app.ports.mtls
    return None if port is None else _with_port(app.settings.mtls_listen, port)


def _with_port(listen: str, port: int) -> str:
    return listen if listen.startswith("unix:") else f"{listen.rpartition(':')[0]}:{port}"


async def _unless(stop: asyncio.Event, work: Coroutine[Any, Any, _Result]) -> _Result | None:
    """Return what the work returns; None if it is time to stop before that, and then the work has ended."""
    working, stopping = asyncio.create_task(work), asyncio.create_task(stop.wait())
    await asyncio.wait((working, stopping), return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if not working.done():
        await end_tasks([working])
    return None if working.cancelled() else working.result()


async def _start(settings: Settings, shares_port: bool) -> App:
    """Return a running instance, once the database answers. Raises CommandFailed."""
    said_at: int | None = None
    while True:
        try:
            app = await _start_now(settings, shares_port)
        except StoreUnavailable as error:
            if said_at is None or monotonic_clock() - said_at >= _SAY_AGAIN_MS:
                said_at = monotonic_clock()
                _log.warning("waiting for the database", cause=_cause(error))
            await asyncio.sleep(_RETRY_S)
        else:
            await _look_at_cache(app)
            return app


async def _start_now(settings: Settings, shares_port: bool) -> App:
    await check_schema(settings.database_url.get_secret_value())
    hasher = HashingProcesses(settings.password_slots, settings.hash_cost)
    app = await open_app(settings, shares_port=shares_port, hasher=hasher)
    try:
        await refuse_unsafe(app)
        await app.start()
    except BaseException as error:
        await app.stop()
        if isinstance(error, AddressTaken | SigningKeyUnusable | CertificatesUnusable):
            raise CommandFailed(str(error), REFUSED) from None
        if isinstance(error, CannotUnseal):
            raise CommandFailed(_SECRETS_LOST, REFUSED) from None
        raise
    settle()
    return app


def settle() -> None:
    """What is in memory by now stays: the collector need not look at it again, which stopped everything for 100 ms."""
    gc.collect()
    gc.freeze()


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


def _cause(error: StoreUnavailable) -> str:
    cause = error.__cause__ or error
    return f"{type(cause).__name__}: {cause}"
