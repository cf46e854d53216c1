"""Owns what the rules take from outside: the clocks and chance. Tests pass their own."""

import os
import time
from dataclasses import dataclass

from authsvc.core.clock import Clock
from authsvc.core.ids import RandomBytes


def wall_clock() -> int:
    """Now, in Unix milliseconds."""
    return time.time_ns() // 1_000_000  # noqa: TID251  the one place that reads the clock


def monotonic_clock() -> int:
    """Milliseconds of a clock that never goes back and runs on while the process stands still."""
    return time.monotonic_ns() // 1_000_000


@dataclass(frozen=True, slots=True)
class Outside:
    """The time of day, a clock that only runs on, and random bytes."""

    clock: Clock = wall_clock
    monotonic: Clock = monotonic_clock
    random_bytes: RandomBytes = os.urandom
