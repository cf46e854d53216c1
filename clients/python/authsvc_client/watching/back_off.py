"""Owns how long to wait before the next try: doubling, with full jitter, so that a fleet does not come back in step."""

import random
from typing import Final

FIRST_MS: Final = 100
LONGEST_MS: Final = 2_000


class BackOff:
    """Waits that grow with each failure in a row."""

    def __init__(self) -> None:
        self._failures = 0

    def succeeded(self) -> None:
        """Begin anew with short waits."""
        self._failures = 0

    def next_ms(self) -> float:
        """How long to wait now: anything up to 100 ms the first time, up to 2 s in the end."""
        ceiling = min(LONGEST_MS, FIRST_MS * 2.0 ** min(self._failures, 16))
        self._failures += 1
        return random.uniform(0, ceiling)  # noqa: S311  no secret
