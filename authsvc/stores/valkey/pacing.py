"""Owns when commands leave: at once while the event loop has time to spare, together with others while it has none.

A write costs about 50 µs of CPU, on this side and the server's, a further command in it 3. A loop that is never idle
takes up a new call every 0.4 ms; a command that waits 2 ms for company then shares its write with four others, and
its caller waits no longer, since everybody waits for the CPU, of which more is left. A loop that has time would only
idle meanwhile.

Which of the two it is shows in how often the loop's thread went to sleep of its own accord: 2.2 times per command with
one call in flight, 0.7 with two, 0.2 with eight, 0.1 with 128. Where the system does not tell, nothing ever waits.
"""

import resource
from collections.abc import Callable

_GAP_S = 0.002
_SLEEPS_PER_COMMAND = 0.25
# So many commands are looked at together.
_SAMPLE = 16

_THREAD = getattr(resource, "RUSAGE_THREAD", None)


class Pace:
    """The pace of one connection."""

    def __init__(self, count_sleeps: Callable[[], float] | None = None) -> None:
        self.next_write_at = 0.0
        self._count_sleeps = count_sleeps or _thread_sleeps
        self._gap_s = 0.0
        self._commands = 0
        self._sleeps = self._count_sleeps()

    def written(self, commands: int, now: float) -> None:
        """Hear of a write of so many commands, and say when the next may leave at the earliest."""
        self._commands += commands
        if self._commands >= _SAMPLE:
            sleeps = self._count_sleeps()
            busy = sleeps - self._sleeps < _SLEEPS_PER_COMMAND * self._commands
            self._gap_s = _GAP_S if busy else 0.0
            self._commands, self._sleeps = 0, sleeps
        self.next_write_at = now + self._gap_s


def _thread_sleeps() -> float:
    """How often this thread has given the CPU away of its own accord."""
    return resource.getrusage(_THREAD).ru_nvcsw if _THREAD is not None else float("inf")
