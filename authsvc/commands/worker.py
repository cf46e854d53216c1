"""Owns being a worker: an instance that shares its port, and tells the process that owns it how it fares.

It ends when it is asked to, and when its owner is gone. Leaves the instance's life to `serving`.
"""

import asyncio
import socket
import sys
from contextlib import suppress
from typing import Any

import structlog

from authsvc import logs
from authsvc.app import App
from authsvc.background import end_tasks
from authsvc.commands.failure import CommandFailed
from authsvc.commands.serving import address_of, serving, stop_on_signals
from authsvc.settings import Settings
from authsvc.workers import Line, LineBroken, told

_log = structlog.get_logger("authsvc")


def run(settings: Settings, name: str, end: socket.socket) -> None:
    """Run until the end, and end the process."""
    logs.configure(settings.log_level)
    logs.log_what_nobody_catches()
    structlog.contextvars.bind_contextvars(worker=name)
    sys.exit(asyncio.run(_run(settings, end)))


async def _run(settings: Settings, end: socket.socket) -> int:
    serves: list[App] = []

    async def count(_: Any) -> Any:
        return [family for app in serves for family in told(app.metrics)]

    stop = stop_on_signals()
    line = await Line.open(end, {"count": count})
    talking = asyncio.create_task(line.run())
    talking.add_done_callback(lambda _: stop.set())
    try:
        async with serving(settings, stop, shares_port=True) as app:
            if app is not None:
                app.metrics_page = lambda: _page(line)
                serves.append(app)
                await _tell(line, "serving")
                _log.info("worker serving", address=address_of(app))
                await stop.wait()
        await _tell(line, "counted", await count(None))
    except CommandFailed as failed:
        await _tell(line, "refused", {"sentence": str(failed), "status": failed.status})
        return failed.status
    finally:
        await end_tasks([talking])
    return 0


async def _tell(line: Line, what: str, given: Any = None) -> None:
    with suppress(LineBroken):  # then the owner is gone, and this process about to end
        await line.ask(what, given)


async def _page(line: Line) -> bytes:
    """One page of metrics for all workers, which their owner makes. Raises LineBroken."""
    text: str = await line.ask("page")
    return text.encode()
