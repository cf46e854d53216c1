"""docs/capacity.md: computed from what was measured, not typed in."""

import json
from pathlib import Path

import pytest

from benchmarks import capacity
from benchmarks.capacity import Habits, need

COSTS = capacity.read_costs()


def test_the_document_is_what_the_bench_says() -> None:
    """Every table of the document is what the script makes of benchmarks/results/latest.json.

    After `make bench ARGS="--only …"` there is nothing to make it of: run all of it, or restore the file.
    """
    text = capacity.DOCUMENT.read_text()

    assert capacity.filled(text, capacity.tables(COSTS)) == text
    assert text.count("<!-- end -->") == len(capacity.tables(COSTS))
    assert "| 1,000,000 |" in text
    assert "1,000,000,000 |" in text


def test_other_numbers_would_show(tmp_path: Path) -> None:
    """Were a measured cost another, the document would be another."""
    content = json.loads(capacity.RESULTS.read_text())
    for row in content["rows"]:
        if row["name"] == "refresh_postgres":
            row["cpu_us"] *= 2
    changed = tmp_path / "latest.json"
    changed.write_text(json.dumps(content))
    text = capacity.DOCUMENT.read_text()

    assert capacity.filled(text, capacity.tables(capacity.read_costs(changed))) != text


@pytest.mark.parametrize("users", capacity.USERS)
def test_rates_follow_from_habits(users: int) -> None:
    """Rates are the habits of the active, at the busiest minute; what is needed is enough for them."""
    habits = Habits(active_daily=0.5, logins=1.0, peak=2.0)

    needed = need(users, COSTS, habits)

    assert needed.logins == pytest.approx(users * 0.5 * 1.0 * 2.0 / 86_400)
    assert needed.instances * capacity.HARDWARE.cores >= needed.cores
    assert needed.cores * capacity.HARDWARE.used > needed.logins * COSTS.login
    assert needed.revocations <= needed.deployments * COSTS.log_rate * capacity.HARDWARE.used
