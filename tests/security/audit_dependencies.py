"""Looks for known vulnerabilities of what is installed: `make audit`, a part of `make check`.

pip-audit asks the index. Where that does not tell (no network, a mirror without its JSON API) this says so, plainly,
and passes: a build on a plane must not fail. One package is asked for first, so that finding that out takes a moment. A
vulnerability that is told fails, unless it is accepted below, with a reason.
"""

import json
import subprocess
import sys
import tempfile
from importlib.metadata import version
from typing import Any, NamedTuple

# Vulnerability id -> why it does not matter here, and what would end that.
ACCEPTED: dict[str, str] = {}

FIRST = "cryptography"
ONE_S = 20.0
ALL_S = 120.0
# Socket timeouts are its own matter; the whole is bounded from outside.
_COMMAND = (
    sys.executable,
    "-m",
    "pip_audit",
    "--format",
    "json",
    "--progress-spinner",
    "off",
    "--timeout",
    "5",
)


class NoReport(ValueError):
    """This is no report of pip-audit."""


class Audit(NamedTuple):
    """What came of it: vulnerabilities as (package, version, id), and how many packages were asked about or not."""

    found: list[tuple[str, str, str]]
    asked: int
    untold: list[str]


def read(report: str) -> Audit:
    """Return what a report of pip-audit says. Raises NoReport."""
    try:
        packages: list[dict[str, Any]] = json.loads(report)["dependencies"]
        told = [each for each in packages if "skip_reason" not in each]
        found = [(each["name"], each["version"], bad["id"]) for each in told for bad in each["vulns"]]
    except (KeyError, TypeError, json.JSONDecodeError) as error:
        raise NoReport from error
    return Audit(found, len(told), [each["name"] for each in packages if "skip_reason" in each])


def judge(audit: Audit | None, accepted: dict[str, str]) -> tuple[int, list[str]]:
    """Return the exit status and what to say. `audit` is None where nothing was told."""
    if audit is None or not audit.asked:
        return 0, ["audit: SKIPPED: the package index tells nothing about vulnerabilities here"]
    bad = [each for each in audit.found if each[2] not in accepted]
    said = [f"audit: {name} {installed} has {known}" for name, installed, known in bad]
    said += [
        f"audit: accepted {known} of {name}: {accepted[known]}"
        for name, _, known in audit.found
        if known in accepted
    ]
    said += [f"audit: not told about: {', '.join(audit.untold)}"] if audit.untold else []
    said.append(f"audit: {audit.asked} packages, {len(bad)} known vulnerabilities")
    return int(bool(bad)), said


def _ask(*arguments: str, within_s: float) -> Audit | None:
    """Return what the index says; None if it does not, or not in time."""
    try:
        ended = subprocess.run(
            [*_COMMAND, *arguments], capture_output=True, text=True, timeout=within_s, check=False
        )
        return read(ended.stdout)
    except (subprocess.TimeoutExpired, NoReport):
        return None


def _ask_about_one() -> Audit | None:
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write(f"{FIRST}=={version(FIRST)}\n")
        file.flush()
        return _ask("--requirement", file.name, "--no-deps", "--disable-pip", within_s=ONE_S)


def main() -> int:
    """Ask, and say what was told."""
    one = _ask_about_one()
    audit = _ask("--local", "--skip-editable", within_s=ALL_S) if one is not None and one.asked else None
    status, said = judge(audit, ACCEPTED)
    sys.stdout.write("\n".join(said) + "\n")
    return status


if __name__ == "__main__":
    sys.exit(main())
