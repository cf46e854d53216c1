"""Owns how long whoever asked for the work under way still waits for it. Leaves giving work up to what it waits at.

Work that changes something runs to its end though its caller has gone, once it has begun. What had not yet begun by
then is better left: nobody hears of it, and a store that was slow has enough to catch up with.
"""

import asyncio
from contextvars import ContextVar

_until: ContextVar[float | None] = ContextVar("until", default=None)


def wait_at_most(milliseconds: int | None) -> None:
    """Note, for this task and those it creates, how long from now its result is waited for; None: for ever."""
    _until.set(None if milliseconds is None else asyncio.get_running_loop().time() + milliseconds / 1000)


def is_over() -> bool:
    """Whether nobody waits any more for what this task does."""
    until = _until.get()
    return until is not None and asyncio.get_running_loop().time() >= until
