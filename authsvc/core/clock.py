"""Owns the units of time. Leaves reading the clock to whoever passes one in.

Times are Unix milliseconds in UTC, as `int`, in names ending `_at`; durations are milliseconds in names ending
`_ms`. One unit everywhere lets SQL, Lua and Python compare the same numbers.
"""

from collections.abc import Callable

Clock = Callable[[], int]

SECOND = 1_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR
