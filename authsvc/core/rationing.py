"""Owns saying seldom what happens often: an event of one kind about one thing only every so often, in this process.

For events that somebody could cause without end, and of which the first few tell everything.
"""

from collections import OrderedDict
from collections.abc import Hashable

from authsvc.core.clock import Clock


class Ration:
    """Lets each thing through once in `every_ms`. Remembers at most `most` things, the newest."""

    def __init__(self, every_ms: int, clock: Clock, most: int = 10_000) -> None:
        self._every_ms = every_ms
        self._clock = clock
        self._most = most
        self._let_through: OrderedDict[Hashable, int] = OrderedDict()

    def lets(self, thing: Hashable) -> bool:
        """Whether it is this thing's turn; if so, its next is in `every_ms`."""
        now, last = self._clock(), self._let_through.get(thing)
        if last is not None and 0 <= now - last < self._every_ms:
            return False
        self._let_through[thing] = now
        self._let_through.move_to_end(thing)
        if len(self._let_through) > self._most:
            self._let_through.popitem(last=False)
        return True
