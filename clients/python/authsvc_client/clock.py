"""Owns reading the clocks: the one place in the client that does. Everything else is given a `Clock`."""

import time
from collections.abc import Callable

Clock = Callable[[], int]
"""Returns milliseconds."""


def wall_clock() -> int:
    """Now, in Unix milliseconds."""
    return time.time_ns() // 1_000_000  # noqa: TID251  the one place that reads the clock


def monotonic_clock() -> int:
    """Milliseconds of a clock that never goes back and runs on while the process stands still."""
    return time.monotonic_ns() // 1_000_000
