"""The alert rules and the dashboard in `deploy/`: they can be read, and name nothing that an instance does not show."""

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import generate_latest

from authsvc.outside import monotonic_clock
from authsvc.stores.embedded import EmbeddedValkey
from authsvc.stores.migrations import upgrade_to_head
from authsvc.workers import Supervisor
from tests.parts.service import outcome
from tests.parts.tls_service import run_tls_service

_ROOT = Path(__file__).parent.parent
_RULES: list[dict[str, Any]] = [
    rule
    for group in yaml.safe_load((_ROOT / "deploy/prometheus/alerts.yaml").read_text())["groups"]
    for rule in group["rules"]
]
_DASHBOARD: dict[str, Any] = json.loads((_ROOT / "deploy/grafana/authsvc.json").read_text())
_OPERATIONS = (_ROOT / "docs/operations.md").read_text()
# What Prometheus itself knows of each instance.
_OF_PROMETHEUS = {"up"}
_NOT_NAMES = re.compile(r'"[^"]*"|\{|\[[^\]]*\]|\$\w+|(?:by|without|on|ignoring) \([^)]*\)')
_NAME = re.compile(r"[a-z_:][a-z0-9_:]*(?!\w|\s*\()")


def names(expression: str) -> set[str]:
    """The metrics that a PromQL expression names: words that are no function, label, duration or string."""
    without_labels = re.sub(r"\{[^}]*\}", "", expression)
    return set(_NAME.findall(_NOT_NAMES.sub(" ", without_labels))) - {"by", "or", "and", "unless", "le"}


def expressions() -> list[Any]:
    """Every expression of the rules and of the dashboard, named for where it stands."""
    panels = [panel for panel in _DASHBOARD["panels"] if panel["type"] != "row"]
    return [
        *(pytest.param(rule["expr"], id=rule["alert"]) for rule in _RULES),
        *(
            pytest.param(target["expr"], id=f"{panel['title']} {target['refId']}")
            for panel in panels
            for target in panel["targets"]
        ),
    ]


def test_names() -> None:
    """The test below would see a name that does not exist."""
    expression = (
        'sum by (instance, le) (rate(a_total{b="c"}[5m])) / max(d_seconds) > 3 or time() - e < 7 * 86400'
    )

    assert names(expression) == {"a_total", "d_seconds", "e"}


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory, shared_valkey: EmbeddedValkey) -> "set[str]":
    """The names of all samples that a server shows once it has been used: an instance's, and those of workers."""
    directory = tmp_path_factory.mktemp("shown")
    return asyncio.run(_shown(directory, shared_valkey.url))


async def _shown(directory: Path, cache_url: str) -> set[str]:
    database_url = f"sqlite:///{directory}/authsvc.db"
    await upgrade_to_head(database_url)
    async with run_tls_service(directory, database_url, cache_url) as service:
        await service.login()
        await outcome(service.validate("ats_made-up"))
        page = (await service.app.metrics_page()).decode()
    owner = Supervisor(lambda _: pytest.fail("none is started"), 1, monotonic_clock)
    page += generate_latest(owner.metrics).decode()
    samples = re.findall(r"^([a-z_]+)(?:{.*})? \S+$", page, re.MULTILINE)
    # One that has not been set yet is told of all the same.
    return {*samples, *re.findall(r"^# TYPE (\w+) gauge$", page, re.MULTILINE)}


@pytest.mark.parametrize("expression", expressions())
def test_every_metric_exists(expression: str, shown: set[str]) -> None:
    """Rules and dashboard name only what a real server shows."""
    assert names(expression)
    assert names(expression) - shown - _OF_PROMETHEUS == set()
    assert expression.count("(") == expression.count(")")


@pytest.mark.parametrize("rule", _RULES, ids=lambda rule: rule["alert"])
def test_every_alarm_is_explained(rule: dict[str, Any]) -> None:
    """Each alarm says in a sentence what is wrong, how bad it is, and is in docs/operations.md with what to do."""
    assert rule["annotations"]["summary"]
    assert rule["labels"]["severity"] in ("page", "ticket")
    assert f"| `{rule['alert']}` |" in _OPERATIONS


def test_no_alarm_is_explained_that_is_not_there() -> None:
    """And the document explains no other."""
    assert set(re.findall(r"^\| `(Authsvc\w+)` \|", _OPERATIONS, re.MULTILINE)) == {
        rule["alert"] for rule in _RULES
    }
