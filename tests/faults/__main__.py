"""Owns the command: `python -m tests.faults --minutes 10 --seed 1`. Ends with `faults N, violations N, seed S`.

With violations the exit status is 1, and the history is kept in a file that `--replay` checks again.
"""

import argparse
import asyncio
import sys
import tempfile
from collections import Counter
from pathlib import Path

from tests.faults.checking import Violation, check
from tests.faults.history import History, Outcome
from tests.faults.running import SKEW_MS, Plan, run
from tests.faults.unguarded import GUARDS

_SHOWN = 20


def main() -> int:
    """Run, check, and tell. Returns the exit status."""
    given = _arguments()
    if given.replay:
        history = History.read(given.replay)
    else:
        plan = Plan(
            seed=given.seed,
            seconds=given.minutes * 60,
            instances=given.instances,
            clients=given.clients,
            without=given.without,
            say=_say,
        )
        _say("cycle faults calls  what was broken")
        history = asyncio.run(run(plan))
    violations = check(history, skew_ms=SKEW_MS)
    _summarise(history)
    for violation in violations[:_SHOWN]:
        _say(str(violation))
    if violations and not given.replay:
        _say(f"history kept in {_keep(history, given.seed)}")
    _tell(history, violations, given.seed)
    return 1 if violations else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="make faults", description="Break a deployment, and see what it promises hold."
    )
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--instances", type=int, default=3)
    parser.add_argument("--clients", type=int, default=6)
    parser.add_argument(
        "--without",
        default="",
        choices=["", *GUARDS],
        help="a guard to leave out: the run must then end with violations",
    )
    parser.add_argument("--replay", type=Path, help="check a history that was kept, without running anything")
    return parser.parse_args()


def _summarise(history: History) -> None:
    faults = Counter(
        "".join(c for c in fault.kind if not c.isdigit()).replace("  ", " ") for fault in history.faults
    )
    for kind, count in sorted(faults.items()):
        _say(f"{count:6} × {kind}")
    outcomes = Counter(call.outcome for call in history.calls)
    told = ", ".join(f"{outcomes[outcome]} {outcome}" for outcome in Outcome)
    revoked = sum(call.is_ok and call.rpc in ("Revoke", "RevokeUser") for call in history.calls)
    _say(f"calls: {told}; acknowledged revocations: {revoked}; sessions: {len(history.sessions)}")


def _keep(history: History, seed: int) -> Path:
    directory = Path(tempfile.mkdtemp(prefix="authsvc-faults-"))
    path = directory / f"seed{seed}.jsonl"
    history.write(path)
    return path


def _tell(history: History, violations: list[Violation], seed: int) -> None:
    _say(f"faults {len(history.faults)}, violations {len(violations)}, seed {seed}")


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201  it talks to a terminal


if __name__ == "__main__":
    sys.exit(main())
