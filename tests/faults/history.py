"""Owns what is on record of a run: calls, faults, and what the stores hold at its end. Leaves judging to `checking`.

Times are milliseconds of one monotonic clock, that of the process which makes the calls. Tokens are named by digests.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path


class Outcome(StrEnum):
    """How a call ended, as its caller knows it."""

    OK = "ok"
    """Acknowledged."""
    FAIL = "fail"
    """Refused: it did not happen, and `reason` says why."""
    UNKNOWN = "unknown"
    """Nobody knows whether it happened."""


@dataclass(slots=True)
class Call:
    """One call. `session`, `user`, `token`, `generation`: what it was about, as the caller knew before. `said_…`: what
    the reply named. `ended` is None for a call under way when the record ends."""

    rpc: str
    instance: int
    invoked: int
    session: str = ""
    user: str = ""
    token: str = ""
    generation: int = 0
    min_revision: int = 0
    ended: int | None = None
    outcome: Outcome = Outcome.UNKNOWN
    reason: str = ""
    said_session: str = ""
    said_user: str = ""
    successor: str = ""
    replayed: bool = False
    active: bool = True
    """What an introspection said."""
    revision: int = 0
    count: int = 0
    """How many sessions a revocation says it ended."""
    wait_ms: int = 0
    """How long a refusal says to wait."""

    @property
    def is_ok(self) -> bool:
        """Whether it was acknowledged."""
        return self.outcome is Outcome.OK


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault, from when it began until what was broken worked again; `instances` are those it was near."""

    kind: str
    instances: tuple[int, ...]
    began: int
    healed: int

    @property
    def loses_cache(self) -> bool:
        """Whether counters of logins may be gone, or out of reach, by it."""
        return self.kind.startswith(("cache", "instance"))


@dataclass(frozen=True, slots=True)
class AuditRow:
    """One event of the audit log, in the order of the log."""

    event: str
    session: str
    user: str
    reason: str


@dataclass(frozen=True, slots=True)
class SessionRow:
    """One session as SQL has it."""

    session: str
    user: str
    revoked: bool
    generation: int


@dataclass(slots=True)
class History:
    """All of a run. `cached_live`: sessions that the cache, as instances would ask it at the end, holds as live."""

    calls: list[Call] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    quiet: list[tuple[int, int]] = field(default_factory=list)
    """Spans at whose begin the last fault had been healed, and at whose end the next came (or the run ended)."""
    lateness: list[tuple[int, int]] = field(default_factory=list)
    """(when, by how much) the recording process itself was late: its own clock cannot be trusted any better."""
    audit: list[AuditRow] = field(default_factory=list)
    sessions: list[SessionRow] = field(default_factory=list)
    cached_live: list[str] = field(default_factory=list)
    ended_abruptly: bool = False
    """Whether any instance was killed or held still: then a revocation may be committed, and the cache not yet told."""

    def write(self, path: Path) -> None:
        """Write all of it, a line each, for later."""
        with path.open("w") as file:
            for line in self._lines():
                file.write(json.dumps(line) + "\n")

    def _lines(self) -> Iterator[dict[str, object]]:
        for kind in ("faults", "audit", "sessions", "calls"):
            for each in getattr(self, kind):
                yield {kind: asdict(each)}
        for kind in ("quiet", "lateness", "cached_live", "ended_abruptly"):
            yield {kind: getattr(self, kind)}

    @classmethod
    def read(cls, path: Path) -> "History":
        """Read what `write` wrote."""
        history = cls()
        makers: dict[str, Callable[..., object]] = {
            "faults": lambda instances, **rest: Fault(instances=tuple(instances), **rest),
            "audit": AuditRow,
            "sessions": SessionRow,
            "calls": lambda outcome, **rest: Call(outcome=Outcome(outcome), **rest),
        }
        for line in path.read_text().splitlines():
            [(kind, value)] = json.loads(line).items()
            if kind in makers:
                getattr(history, kind).append(makers[kind](**value))
            else:
                setattr(history, kind, [tuple(each) for each in value] if kind in _PAIRS else value)
        return history


_PAIRS = frozenset({"quiet", "lateness"})
