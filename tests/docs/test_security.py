"""docs/security.md names tests for its promises: every one is there."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "security.md").read_text()
NAMED = re.findall(r"`([\w/]+\.py)::(test_\w+)`", PAGE)
STANDARDS = (
    "access tokens",
    "refresh tokens",
    "revoke and introspect",
    "sessions and cookies",
    "passwords and login",
)


def functions(path: Path) -> set[str]:
    """The names of all functions of a file."""
    return {
        node.name
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }


def test_every_test_exists() -> None:
    """A promise is held by tests that are there under the name that the page gives."""
    files = {path for path, _ in NAMED}
    there = {path: functions(ROOT / "tests" / path) for path in files if (ROOT / "tests" / path).is_file()}

    missing = [f"{path}::{name}" for path, name in NAMED if name not in there.get(path, set())]

    assert len(NAMED) > 100
    assert missing == []


def test_every_promise_has_a_test() -> None:
    """Each row of the promises names at least one test, but for headings."""
    table = PAGE.partition("## Promises")[2].partition("\n## ")[0]
    rows = [line for line in table.splitlines() if line.startswith("| ")][1:]

    without = [row for row in rows if "::test_" not in row and not row.startswith("| **")]

    assert len(rows) > 30
    assert without == []


def test_every_standard_is_there() -> None:
    """The checklist has a table for each of the standards' subjects, and each line says where it is met, or not."""
    checklist = PAGE.partition("## Checklist")[2].partition("\n## ")[0]
    lines = [
        line for line in checklist.splitlines() if line.startswith("| ") and not line.endswith("| met |")
    ]

    assert all(f"| {subject} " in checklist for subject in (*STANDARDS, "gRPC", "logs"))
    assert [line for line in lines if "::test_" not in line and "not" not in line] == []


def test_files_named_exist() -> None:
    """What the page says of a file is said of one that is there."""
    named = set(re.findall(r"`((?:authsvc|clients)/[\w/.]+\.py)", PAGE))

    assert named
    assert [path for path in named if not (ROOT / path).is_file()] == []
