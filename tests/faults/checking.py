"""Owns what no history may show. Pure: a history in, its violations out. Leaves making histories to `running`.

revoked      no accepted use of a token that began after its revocation was acknowledged, plus the bound
successors   at most one successor of each refresh token
lost         what was acknowledged is usable, or its end is explained
mixed        no reply names another session or user than the one that was asked about
audited      the audit log has each acknowledged change once, and no change that nobody asked for
throttled    a wait that was told is kept to, unless the cache that counts was lost meanwhile
recovered    within two seconds of the last fault's healing every instance serves, and goes on doing so
incidents    nothing is ever answered with INTERNAL
told         what SQL says has ended the cache does not hold as live
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tests.faults.ends import ENDS_USER, REUSED, Ends
from tests.faults.history import Call, History, Outcome

# A view older than this is not answered from; the rest is for the reply on its way and the age of the last reading.
BOUND_MS = 5_000 + 1_000
RECOVERY_MS = 2_000
USES = frozenset({"Validate", "Batch", "Exchange", "Introspect", "IntrospectAccess", "Refresh"})
PROBES = frozenset({"Validate", "List"})
GONE = frozenset({"SESSION_NOT_ACTIVE", "REFRESH_TOKEN_NOT_ACTIVE", "ACCESS_TOKEN_REVOKED", REUSED})
NOT_NOW = frozenset(
    {"DEPENDENCY_UNAVAILABLE", "VIEW_TOO_OLD", "UNAVAILABLE", "OVERLOADED", "DEADLINE_EXCEEDED"}
)
IMPATIENT = "IMPATIENT"
"""The reason of a call that its caller gave up early, on purpose."""


@dataclass(frozen=True, slots=True)
class Violation:
    """A rule, how it was broken, and the call that shows it."""

    rule: str
    text: str
    call: Call | None = None

    def __str__(self) -> str:
        return f"{self.rule}: {self.text}" + (f"\n    {self.call}" if self.call else "")


def check(history: History, *, bound_ms: int = BOUND_MS, skew_ms: int = 0) -> list[Violation]:
    """Return every violation of every rule. `bound_ms`: how long after its acknowledgement a revocation may go
    unnoticed at other instances."""
    ends = Ends(history, skew_ms)
    found = list(revoked(history, ends, bound_ms))
    found += lost(history, ends)
    found += throttled(history, skew_ms)
    for rule in _RULES:
        found += rule(history)
    return found


def revoked(history: History, ends: Ends, bound_ms: int = BOUND_MS) -> Iterator[Violation]:
    """Refresh asks SQL itself, and the answering instance knows at once; others within the bound."""
    for call in history.calls:
        if not _is_accepted_use(call):
            continue
        for end in ends.of(call.session):
            if end.certain is None:
                continue
            at_once = (
                call.rpc == "Refresh"
                or call.instance == end.by.instance
                or 0 < end.by.revision <= call.min_revision
            )
            late = call.invoked - end.certain - (0 if at_once else bound_ms)
            if late > 0:
                yield Violation("revoked", f"accepted {late} ms after it had to be refused", call)
                break


def lost(history: History, ends: Ends) -> Iterator[Violation]:
    """A refusal as ended, or a "no" of an introspection, needs an end that had been asked for by then."""
    for call in history.calls:
        if call.rpc not in USES or call.ended is None or not call.session:
            continue
        says_gone = call.reason in GONE or (call.is_ok and not call.active)
        if says_gone and not ends.explain(call):
            yield Violation("lost", "refused, and nobody had ended it", call)


def successors(history: History) -> Iterator[Violation]:
    """Two different successors in replies are a violation, and so are two rotations of one generation on record."""
    seen: dict[str, str] = {}
    for call in history.calls:
        if (
            call.rpc == "Refresh"
            and call.is_ok
            and seen.setdefault(call.token, call.successor) != call.successor
        ):
            yield Violation("successors", "a second successor", call)
    rotated = Counter((row.session, row.reason) for row in history.audit if row.event == "token.rotated")
    for (session, reason), count in rotated.items():
        if count > 1:
            yield Violation("successors", f"{reason} of session {session} rotated {count} times")


def mixed(history: History) -> Iterator[Violation]:
    """Whatever a reply names must be what its caller asked about."""
    for call in history.calls:
        if not call.is_ok:
            continue
        if call.said_session and call.session and call.said_session != call.session:
            yield Violation("mixed", "the reply names another session", call)
        if call.said_user and call.user and call.said_user != call.user:
            yield Violation("mixed", "the reply names another user", call)


def audited(history: History) -> Iterator[Violation]:
    """Compare the log with what was acknowledged, and with what may have happened."""
    if not history.audit:
        return
    rows = Counter((row.event, row.session) for row in history.audit)
    rotations = {(row.session, row.reason) for row in history.audit if row.event == "token.rotated"}
    asked = {
        (call.session, f"generation {call.generation}") for call in history.calls if call.rpc == "Refresh"
    }
    for call in history.calls:
        if call.is_ok and call.rpc == "Login" and rows["session.created", call.said_session] != 1:
            yield Violation("audited", "a login is not on record once", call)
        if (
            call.is_ok
            and call.rpc == "Refresh"
            and (call.session, f"generation {call.generation}") not in rotations
        ):
            yield Violation("audited", "a refresh is not on record", call)
        if call.is_ok and call.rpc == "Revoke" and call.count and rows["session.revoked", call.session] != 1:
            yield Violation("audited", "a revocation is not on record once", call)
    for session, reason in rotations - asked:
        yield Violation("audited", f"{reason} of session {session} rotated, and nobody had asked")
    yield from _audited_users(history)
    yield from _audited_sessions(history)


def _audited_users(history: History) -> Iterator[Violation]:
    """Logins and revocations of all of a user's sessions: as many rows as were acknowledged at least, and not more
    than were asked for."""
    for event, rpcs in (("session.created", {"Login"}), ("session.revoked", ENDS_USER)):
        on_record = Counter(
            row.user
            for row in history.audit
            if row.event == event and (event == "session.created" or not row.session)
        )
        least, most = Counter[str](), Counter[str]()
        for call in history.calls:
            if call.rpc in rpcs and call.outcome is not Outcome.FAIL:
                least[call.user] += call.is_ok and (call.rpc == "Login" or call.count > 0)
                most[call.user] += 1
        for user in on_record | most:
            if not least[user] <= on_record[user] <= most[user]:
                told = (
                    f"{on_record[user]} × {event} of {user}, between {least[user]} and {most[user]} asked for"
                )
                yield Violation("audited", told)


def _audited_sessions(history: History) -> Iterator[Violation]:
    """A session that SQL has as revoked was revoked by an event on record."""
    by_session = {row.session for row in history.audit if row.event in ("session.revoked", "token.reused")}
    by_user = {row.user for row in history.audit if row.event == "session.revoked" and not row.session}
    for row in history.sessions:
        if row.revoked and row.session not in by_session and row.user not in by_user:
            yield Violation("audited", f"session {row.session} is revoked, and no event says so")


def throttled(history: History, skew_ms: int = 0) -> Iterator[Violation]:
    """A password looked at before the wait was over means that a counter ran back. Instances go by their own clocks."""
    until: dict[str, tuple[int, int]] = {}
    for call in sorted(history.calls, key=lambda call: call.invoked):
        if call.rpc != "Guess" or call.ended is None:
            continue
        told_at, blocked_until = until.get(call.user, (0, 0))
        early = call.reason == "INVALID_CREDENTIALS" and call.ended < blocked_until - 2 * skew_ms
        if early and not _cache_lost(history, told_at, call.ended):
            yield Violation("throttled", f"looked at {blocked_until - call.ended} ms early", call)
        if call.reason == "RATE_LIMITED" and call.invoked + call.wait_ms > blocked_until:
            until[call.user] = (call.invoked, call.invoked + call.wait_ms)


def _cache_lost(history: History, since: int, until: int) -> bool:
    grace = RECOVERY_MS + 2_000
    return any(
        fault.loses_cache and fault.began <= until and since <= fault.healed + grace
        for fault in history.faults
    )


def recovered(history: History) -> Iterator[Violation]:
    """`not now` is no answer any more once everything has been whole for two seconds."""
    instances = {call.instance for call in history.calls}
    for began, ended in history.quiet:
        whole_at = began + RECOVERY_MS + _lateness(history, began, began + RECOVERY_MS)
        if whole_at > ended:
            continue
        served: dict[int, set[str]] = defaultdict(set)
        for call in history.calls:
            if call.ended is None or not began <= call.ended <= ended:
                continue
            if call.is_ok and call.ended <= whole_at:
                served[call.instance].add(call.rpc)
            late = _lateness(history, call.invoked, call.ended)
            if call.invoked > whole_at and call.reason in NOT_NOW and not late:
                yield Violation("recovered", f"{call.invoked - began} ms after the last fault healed", call)
        for instance in sorted(instances):
            if missing := PROBES - served[instance]:
                told = f"instance {instance}: no {', '.join(sorted(missing))} for {whole_at - began} ms"
                yield Violation("recovered", told)


def _lateness(history: History, since: int, until: int) -> int:
    return sum(by for at, by in history.lateness if since <= at <= until + by)


def incidents(history: History) -> Iterator[Violation]:
    """INTERNAL is a defect, whatever was broken."""
    for call in history.calls:
        if call.reason in ("INTERNAL", "UNKNOWN"):
            yield Violation("incidents", "answered with INTERNAL", call)


def told(history: History) -> Iterator[Violation]:
    """Whoever commits a revocation tells the cache, or moves the epoch, even if its caller has gone."""
    if history.ended_abruptly:
        return
    ended = {row.session for row in history.sessions if row.revoked}
    for session in sorted(ended.intersection(history.cached_live)):
        yield Violation("told", f"session {session} has ended, and the cache holds it as live")


def _is_accepted_use(call: Call) -> bool:
    return call.rpc in USES and call.is_ok and call.active


_RULES: tuple[Callable[[History], Iterator[Violation]], ...] = (
    successors,
    mixed,
    audited,
    recovered,
    incidents,
    told,
)
