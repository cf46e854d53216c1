"""docs/audit.md against the code."""

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
SUBJECTS = "session|token|login|user|client|key|second_factor|recovery_code|recovery_codes"


def test_every_event_is_described() -> None:
    """The page lists every event that the rules can write, and no other."""
    code = "".join(path.read_text() for path in sorted((ROOT / "authsvc" / "core").glob("*.py")))
    page = (ROOT / "docs" / "audit.md").read_text()

    written = set(re.findall(rf'"((?:{SUBJECTS})\.[a-z_]+)"', code))
    described = set(re.findall(rf"`((?:{SUBJECTS})\.[a-z_]+)`", page))

    assert described == written
