"""Owns how long whoever asked for the work under way still waits for it. Leaves giving work up to what it waits at.

Work that changes something runs to its end though its caller has gone, once it has begun. What had not yet begun by
then is better left: nobody hears of it, and a store that was slow has enough to catch up with.
"""

import asyncio
from contextvars import ContextVar

_until: ContextVar[float | None] = ContextVar("until", default=None)


def wait_at_most(milliseconds: int | None) -> None:
    """Note, for this task and those it creates, how long from now its result is waited for; None: for ever."""
    wait_until(None if milliseconds is None else asyncio.get_running_loop().time() + milliseconds / 1000)


def waited_until() -> float | None:
    """Until when somebody waits for what this task does, as the event loop has it; None: for ever."""
    return _until.get()


def wait_until(moment: float | None) -> None:
    """Note until when the result of this task, and of those it creates, is waited for."""
    _until.set(moment)


def is_over(moment: float | None) -> bool:
    """Whether what somebody waits for until then would come too late."""
    return moment is not None and asyncio.get_running_loop().time() >= moment
