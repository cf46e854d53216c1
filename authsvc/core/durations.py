"""Owns counting how long things took, in buckets, cheaply. Leaves showing them to whoever is asked."""

from bisect import bisect_left
from itertools import accumulate

BOUNDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
"""Upper bounds of the buckets in seconds; one more bucket holds the rest."""


class Durations:
    """Durations of one kind."""

    __slots__ = ("_buckets", "_seconds")

    def __init__(self) -> None:
        self._seconds = 0.0
        self._buckets = [0] * (len(BOUNDS) + 1)

    def add(self, seconds: float) -> None:
        """Count one."""
        self._seconds += seconds
        self._buckets[bisect_left(BOUNDS, seconds)] += 1

    def cumulative(self) -> tuple[list[tuple[str, float]], float]:
        """How many took up to each bound, as a histogram has them, and the seconds of all together."""
        bounds = [*map(str, BOUNDS), "+Inf"]
        return list(zip(bounds, accumulate(map(float, self._buckets)), strict=True)), self._seconds
