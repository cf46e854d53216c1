"""What `make audit` makes of what pip-audit reports; the index itself is asked by `make audit` alone."""

import json
import subprocess
from typing import Any

import pytest

from tests.security import audit_dependencies
from tests.security.audit_dependencies import NoReport, judge, read


def report(*packages: dict[str, Any]) -> str:
    """A report as pip-audit writes it."""
    return json.dumps({"dependencies": packages, "fixes": []})


GOOD = {"name": "grpcio", "version": "1.85.1", "vulns": []}
BAD = {"name": "jinja2", "version": "2.4.1", "vulns": [{"id": "PYSEC-2014-8", "fix_versions": ["2.7.2"]}]}
UNTOLD = {"name": "authsvc", "skip_reason": "Dependency not found on PyPI"}


def test_vulnerability_fails() -> None:
    """A known vulnerability fails the build, and is named with its package and version."""
    status, said = judge(read(report(GOOD, BAD, UNTOLD)), {})

    assert status == 1
    assert "audit: jinja2 2.4.1 has PYSEC-2014-8" in said


def test_accepted_vulnerability_passes() -> None:
    """One that is accepted passes, and its reason is shown each time."""
    status, said = judge(read(report(BAD)), {"PYSEC-2014-8": "it is not reached"})

    assert status == 0
    assert any("it is not reached" in line for line in said)


def test_nothing_known_passes() -> None:
    """Where nothing is known all is well, and what was not told about is named."""
    status, said = judge(read(report(GOOD, UNTOLD)), {})

    assert (status, said[-1]) == (0, "audit: 1 packages, 0 known vulnerabilities")
    assert any("authsvc" in line for line in said)


def test_nothing_told_is_a_visible_skip() -> None:
    """An index that tells nothing skips the audit, in words that cannot be missed; that is no pass in silence."""
    for audit in (None, read(report(UNTOLD, UNTOLD))):
        status, said = judge(audit, {})

        assert status == 0
        assert "SKIPPED" in said[0]


@pytest.mark.parametrize("text", ["", "null", "[]", '{"dependencies": [{"name": "x"}]}', "Traceback"])
def test_what_is_no_report(text: str) -> None:
    """What is no report of pip-audit is not read as "nothing found"."""
    with pytest.raises(NoReport):
        read(text)


def test_index_that_hangs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """An index that does not answer is given up after one package; the build goes on."""
    asked = []

    def hang(command: list[str], **_: Any) -> None:
        asked.append(command)
        raise subprocess.TimeoutExpired(command, 1)

    monkeypatch.setattr(subprocess, "run", hang)

    assert audit_dependencies.main() == 0
    assert "SKIPPED" in capsys.readouterr().out
    assert len(asked) == 1


def test_every_accepted_has_a_reason() -> None:
    """Nothing is accepted without saying why."""
    assert all(len(reason) > 20 for reason in audit_dependencies.ACCEPTED.values())
