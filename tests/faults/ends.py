"""Owns which sessions a history says have ended, or may have. Leaves what follows from that to `checking`."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from tests.faults.history import Call, History, Outcome

REPLAY_LIMIT = 3
REPLAY_WINDOW_MS = 30_000
REUSED = "REFRESH_TOKEN_REUSED"
ENDS_USER = frozenset({"RevokeUser"})


@dataclass(frozen=True, slots=True)
class End:
    """A session's end: possible from the moment it was asked for, certain once that was acknowledged."""

    possible: int
    certain: int | None
    by: Call


class Ends:
    """Every end of every session of a history. `skew_ms`: how far apart the clocks of instances may be."""

    def __init__(self, history: History, skew_ms: int = 0) -> None:
        self._skew_ms = skew_ms
        self._of: dict[str, list[End]] = defaultdict(list)
        self._presented: dict[str, list[Call]] = defaultdict(list)
        self._first_use: dict[tuple[str, int], int] = {}
        sessions: dict[str, list[tuple[str, int | None]]] = defaultdict(list)
        for call in history.calls:
            if call.rpc == "Login" and call.is_ok:
                sessions[call.user].append((call.said_session, call.ended))
            if call.rpc == "Refresh":
                self._note_use(call)
        for call in history.calls:
            for session, end in self._ends_by(call, sessions):
                self._of[session].append(end)

    def of(self, session: str) -> list[End]:
        """All ends of a session."""
        return self._of.get(session, [])

    def explain(self, call: Call) -> bool:
        """Whether something that ends the session had been begun before this call said that it has ended."""
        others = (end.possible for end in self.of(call.session) if end.by is not call)
        return any(possible <= _end_of(call) for possible in others) or (
            call.rpc == "Refresh" and self.is_reuse(call)
        )

    def is_reuse(self, call: Call) -> bool:
        """Whether a refresh may rightly be taken for the use of a stolen token: its successor had been used, it had
        been handed out as often as is allowed, or that was too long ago."""
        ended = _end_of(call)
        if self._first_use.get((call.session, call.generation + 1), ended) < ended:
            return True
        others = [
            other
            for other in self._presented[call.token]
            if other is not call and other.outcome is not Outcome.FAIL and other.invoked < ended
        ]
        if len(others) > REPLAY_LIMIT:
            return True
        window = REPLAY_WINDOW_MS - 2 * self._skew_ms
        return any(other.invoked < ended - window for other in others)

    def _note_use(self, call: Call) -> None:
        self._presented[call.token].append(call)
        for generation in range(call.generation + 1):
            place = (call.session, generation)
            if self._first_use.setdefault(place, call.invoked) > call.invoked:
                self._first_use[place] = call.invoked

    def _ends_by(
        self, call: Call, sessions: dict[str, list[tuple[str, int | None]]]
    ) -> Iterator[tuple[str, End]]:
        certain = call.ended if call.is_ok else None
        if call.rpc == "Revoke" and call.outcome is not Outcome.FAIL:
            yield call.session, End(call.invoked, certain, call)
        elif call.rpc in ENDS_USER and call.outcome is not Outcome.FAIL:
            for session, began in sessions[call.user]:
                known = began is not None and began < call.invoked
                end = End(call.invoked, certain if known else None, call)
                yield session, end
        elif call.rpc == "Refresh" and (call.reason == REUSED or self.is_reuse(call)):
            seen = call.ended if call.reason == REUSED else None
            yield call.session, End(call.invoked, seen, call)


def _end_of(call: Call) -> int:
    return 1 << 62 if call.ended is None else call.ended
