"""Whole runs: faults by seed against a real deployment. The long ones: `make faults ARGS="--minutes 10 --seed 1"`."""

import pytest

from tests.faults.asking import LATE
from tests.faults.checking import check
from tests.faults.running import SKEW_MS, Plan, run

# Seeds that have found something. Times differ from run to run, so each stands for its mixture of faults.
SEEDS = (2,)


async def test_a_short_run() -> None:
    """A deployment that is broken in every way for a while breaks no promise."""
    history = await run(Plan(seed=1, seconds=6.0, instances=2, clients=4))

    assert [str(violation) for violation in check(history, skew_ms=SKEW_MS)] == []
    assert len(history.faults) >= 3
    assert sum(call.is_ok for call in history.calls) > 200


@LATE
@pytest.mark.parametrize("seed", SEEDS)
async def test_seeds_that_found_something(seed: int) -> None:
    """What once broke a promise does not do so any more."""
    history = await run(Plan(seed=seed, seconds=60.0))

    assert [str(violation) for violation in check(history, skew_ms=SKEW_MS)] == []
