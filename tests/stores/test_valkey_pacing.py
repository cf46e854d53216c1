"""When commands leave: a loop that has time waits for nobody, one that has none lets commands share a write."""

import itertools

from authsvc.stores.valkey.pacing import Pace

NOW = 1_000.0


def test_nothing_waits_at_first() -> None:
    """The first commands leave at once: nothing is known yet."""
    pace = Pace(lambda: 0)

    pace.written(1, NOW)

    assert pace.next_write_at <= NOW


def test_an_idle_loop_waits_for_nobody() -> None:
    """While the loop sleeps between commands, each leaves at once."""
    sleeps = itertools.count()
    pace = Pace(lambda: 16 * next(sleeps))

    for number in range(100):
        pace.written(1, NOW + number)
        assert pace.next_write_at <= NOW + number


def test_a_busy_loop_gathers() -> None:
    """While the loop never sleeps, the next write is two milliseconds after the last."""
    pace = Pace(lambda: 0)

    pace.written(16, NOW)

    assert 0.001 < pace.next_write_at - NOW < 0.003


def test_waiting_ends_with_the_rush() -> None:
    """A loop that goes to sleep again, if only because commands wait, stops waiting."""
    sleeps = iter([0, 0, 16])
    pace = Pace(lambda: next(sleeps))
    pace.written(16, NOW)

    pace.written(16, NOW + 1)

    assert pace.next_write_at <= NOW + 1
