"""Owns ending work in the background. Leaves what the work is to whoever began it."""

import asyncio
from collections.abc import Iterable
from typing import Any

_CANCEL_AGAIN_SECONDS = 0.1


async def end_tasks(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel tasks until all have ended: a library may lose a cancellation that comes together with a reply."""
    pending = set(tasks)
    ended: set[asyncio.Task[Any]] = set()
    while pending:
        for task in pending:
            task.cancel()
        done, pending = await asyncio.wait(pending, timeout=_CANCEL_AGAIN_SECONDS)
        ended |= done
    await asyncio.gather(*ended, return_exceptions=True)
