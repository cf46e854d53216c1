"""Owns what one slice of measuring gives, and what a row of the table holds. Leaves taking slices to the rows."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from statistics import median


@dataclass(frozen=True, slots=True)
class Sample:
    """One slice: CPU of the server per call (or token), calls (or tokens) a second, latencies of calls in ms.

    NaN where a row has no such number. `more` holds further numbers of the row's own, by name.
    """

    cpu_us: float
    rate: float
    p50_ms: float
    p99_ms: float
    more: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Result:
    """One row: medians over the rounds. `ratio` is the median of each round's own ratio to the echo around it."""

    name: str
    sample: Sample
    ratio: float


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which this share of the values lies; NaN of none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else float("nan")


def combined(samples: Sequence[Sample]) -> Sample:
    """The median of each number; of a `max_…` the greatest."""
    return Sample(
        cpu_us=median(each.cpu_us for each in samples),
        rate=median(each.rate for each in samples),
        p50_ms=median(each.p50_ms for each in samples),
        p99_ms=median(each.p99_ms for each in samples),
        more={name: _combine(name)(each.more[name] for each in samples) for name in samples[0].more},
    )


def _combine(name: str) -> Callable[[Iterable[float]], float]:
    return max if name.startswith("max_") else median
