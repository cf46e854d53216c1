"""Owns a clock that tests move: the time of day, plus what a test has added to it."""

from authsvc_client.clock import Clock, wall_clock


class MovableClock:
    """A `Clock` (Unix ms). Runs like the wall clock until it is stopped; safe to read from any thread."""

    def __init__(self, source: Clock = wall_clock) -> None:
        self._source = source
        self._ahead_ms = 0
        self._stopped_at: int | None = None

    def __call__(self) -> int:
        stopped_at = self._stopped_at
        return (self._source() if stopped_at is None else stopped_at) + self._ahead_ms

    def move(self, milliseconds: int) -> None:
        """Let time pass, at once."""
        self._ahead_ms += milliseconds

    def stop(self, at: int | None = None) -> None:
        """Stand still from now on, or at the moment given (Unix ms), so that a test hits a boundary exactly."""
        self._stopped_at = self() if at is None else at
        self._ahead_ms = 0
