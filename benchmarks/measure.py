"""Owns the order of measuring: rounds of echo, row, echo, row, … and medians. Leaves slices to rows, output to report.

Machines are noisy, and slow down and speed up while measuring. So each sample of a row is divided by the mean of the
two samples of echo around it, and the row's ratio is the median of these. A row without CPU has nothing to compare.
"""

from collections.abc import Callable, Sequence
from math import isnan, nan
from statistics import median

from benchmarks.rows import ECHO, Row
from benchmarks.samples import Result, Sample, combined
from benchmarks.stage import Stage

ROUNDS = 3
_ECHO_SECONDS = 0.8
_ROW_SECONDS = 1.6

Progress = Callable[[str], None]


def measure(rows: Sequence[Row], stage: Stage, progress: Progress) -> list[Result]:
    """Return a result for each row, the echo first. `progress` is told what each of `steps(rows)` steps is about."""
    others = [row for row in rows if row is not ECHO]
    for row in others:
        progress(f"preparing {row.name}")
        row.measure(stage, 0.2)
    echoes: list[Sample] = []
    samples: dict[str, list[Sample]] = {row.name: [] for row in others}
    ratios: dict[str, list[float]] = {row.name: [] for row in others}
    for turn in range(ROUNDS):
        progress(f"{turn + 1}: echo")
        echoes.append(ECHO.measure(stage, _ECHO_SECONDS))
        for row in others:
            progress(f"{turn + 1}: {row.name}")
            sample = row.measure(stage, _ROW_SECONDS)
            samples[row.name].append(sample)
            if isnan(sample.cpu_us):
                ratios[row.name].append(nan)
                continue
            progress(f"{turn + 1}: echo")
            echoes.append(ECHO.measure(stage, _ECHO_SECONDS))
            ratios[row.name].append(2 * sample.cpu_us / (echoes[-2].cpu_us + echoes[-1].cpu_us))
    return [
        Result(ECHO.name, combined(echoes), 1.0),
        *(Result(name, combined(samples[name]), median(ratios[name])) for name in samples),
    ]


def steps(rows: Sequence[Row]) -> int:
    """How often `measure` tells of progress, at most."""
    others = sum(row is not ECHO for row in rows)
    return others + ROUNDS * (1 + 2 * others)
