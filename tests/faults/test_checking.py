"""The checker sees: hand-made histories that break one rule each, and ones that only look as if."""

from dataclasses import replace
from typing import Any

import pytest

from tests.faults.checking import IMPATIENT, Violation, check
from tests.faults.history import AuditRow, Call, Fault, History, Outcome, SessionRow

USER, SESSION = "u1", "s1"


def ok(rpc: str, invoked: int, ended: int, instance: int = 0, **known: Any) -> Call:
    """A call that was acknowledged."""
    given = {"session": SESSION, "user": USER, "said_session": SESSION, "said_user": USER, **known}
    return Call(rpc, instance, invoked, ended=ended, outcome=Outcome.OK, **given)


def refused(rpc: str, invoked: int, ended: int, reason: str, instance: int = 0, **known: Any) -> Call:
    """A call that was refused."""
    given = {"session": SESSION, "user": USER, **known}
    return Call(rpc, instance, invoked, ended=ended, outcome=Outcome.FAIL, reason=reason, **given)


def unknown(rpc: str, invoked: int, ended: int, reason: str = "UNAVAILABLE", **known: Any) -> Call:
    """A call of which nobody knows."""
    given = {"session": SESSION, "user": USER, **known}
    return Call(rpc, 0, invoked, ended=ended, reason=reason, **given)


def login(at: int = 0) -> Call:
    """How a session begins."""
    return ok("Login", at, at + 10, session="")


def rules(*calls: Call, **more: Any) -> list[str]:
    """The rules that a history breaks."""
    return [violation.rule for violation in violations(*calls, **more)]


def violations(*calls: Call, **more: Any) -> list[Violation]:
    """What the checker says of a history."""
    return check(History(calls=list(calls), **more))


def test_nothing_wrong() -> None:
    """An ordinary life of a session breaks no rule."""
    life = [
        login(),
        ok("Validate", 20, 22, 1),
        ok("Refresh", 30, 34, token="t0", successor="t1"),
        ok("Refresh", 40, 44, token="t0", successor="t1", replayed=True),
        ok("Introspect", 50, 52, 2),
        ok("Revoke", 60, 64, count=1, revision=1),
        refused("Validate", 70, 71, "SESSION_NOT_ACTIVE"),
        ok("IntrospectAccess", 80, 81, 1, active=False, said_session="", said_user=""),
    ]

    assert rules(*life) == []


@pytest.mark.parametrize(
    "rpc", ["Validate", "Batch", "Exchange", "Introspect", "IntrospectAccess", "Refresh"]
)
def test_used_after_it_was_revoked(rpc: str) -> None:
    """Whatever accepts a token at another instance once the bound is over breaks the first rule."""
    use = ok(rpc, 7_000, 7_002, 1, token="t0", successor="t1")

    assert rules(login(), ok("Revoke", 60, 64, 0), use) == ["revoked"]


def test_within_the_bound() -> None:
    """Another instance may not have heard for as long as the bound says, and a call that began earlier may be late."""
    within = ok("Validate", 5_000, 5_002, 1)
    began_before = ok("Validate", 63, 900, 0)

    assert rules(login(), ok("Revoke", 60, 64, 0), within, began_before) == []


@pytest.mark.parametrize(
    "use",
    [
        ok("Validate", 65, 67, 0),
        ok("Refresh", 65, 67, 1, token="t0", successor="t1"),
        ok("Validate", 65, 67, 1, min_revision=9),
    ],
    ids=["same instance", "refresh", "revision asked for"],
)
def test_no_bound_at_all(use: Call) -> None:
    """The instance that acknowledged knows at once; so does whoever asks SQL, and whoever waits for the revision."""
    assert rules(login(), ok("Revoke", 60, 64, 0, revision=9), use) == ["revoked"]


def test_revoked_with_all_of_a_users() -> None:
    """Revoking all of a user's sessions ends those known by then, and no later one."""
    revoke = ok("RevokeUser", 60, 64, session="", said_session="", count=1)
    later = ok("Login", 70, 80, session="", said_session="s2")
    use = ok("Validate", 90, 91, session="s2", said_session="s2")

    assert rules(login(), revoke, later, use) == []
    assert rules(login(), revoke, ok("Validate", 90, 91)) == ["revoked"]


def test_reuse_is_a_revocation() -> None:
    """A session that was ended as stolen has ended."""
    calls = [
        login(),
        ok("Refresh", 30, 34, token="t0", successor="t1"),
        ok("Refresh", 40, 44, token="t1", successor="t2", generation=1),
        refused("Refresh", 50, 54, "REFRESH_TOKEN_REUSED", token="t0"),
    ]

    assert rules(*calls, refused("Validate", 60, 61, "SESSION_NOT_ACTIVE")) == []
    assert rules(*calls, ok("Validate", 60, 61)) == ["revoked"]


def test_two_successors() -> None:
    """Two different successors of one token are seen in replies, and in the audit log."""
    two = [
        ok("Refresh", 30, 34, token="t0", successor="t1"),
        ok("Refresh", 31, 35, token="t0", successor="t2"),
    ]
    twice = [AuditRow("session.created", SESSION, USER, "")]
    twice += [AuditRow("token.rotated", SESSION, "", "generation 0")] * 2

    assert rules(login(), *two) == ["successors"]
    assert "successors" in rules(login(), two[0], audit=twice)


@pytest.mark.parametrize(
    "gone",
    [
        refused("Validate", 50, 51, "SESSION_NOT_ACTIVE"),
        refused("Refresh", 50, 51, "REFRESH_TOKEN_NOT_ACTIVE", token="t0"),
        refused("Refresh", 50, 51, "REFRESH_TOKEN_REUSED", token="t0"),
        ok("Introspect", 50, 51, active=False, said_session="", said_user=""),
    ],
    ids=["session", "refresh token", "taken for a thief", "introspected"],
)
def test_lost(gone: Call) -> None:
    """An acknowledged login that is refused, though nobody ended it, is lost; not so once somebody tried to."""
    assert rules(login(), gone) == ["lost"]
    assert rules(login(), unknown("Revoke", 20, 30), gone) == []
    assert rules(login(), unknown("RevokeUser", 20, 30, session=""), gone) == []


def test_lost_successor() -> None:
    """An acknowledged successor that is not active is lost."""
    refresh = ok("Refresh", 30, 34, token="t0", successor="t1")
    gone = refused("Refresh", 40, 41, "REFRESH_TOKEN_NOT_ACTIVE", token="t1", generation=1)

    assert rules(login(), refresh, gone) == ["lost"]


def test_rightly_taken_for_a_thief() -> None:
    """A token that was presented too often, or too long ago, may be taken for stolen; not one presented again soon."""
    often = [unknown("Refresh", at, at + 5, token="t0") for at in (30, 40, 50, 60)]
    reused = refused("Refresh", 70, 71, "REFRESH_TOKEN_REUSED", token="t0")
    late = refused("Refresh", 31_000, 31_001, "REFRESH_TOKEN_REUSED", token="t0")

    assert rules(login(), *often, reused) == []
    assert rules(login(), often[0], late) == []
    assert rules(login(), *often[:2], reused) == ["lost"]


@pytest.mark.parametrize("said", [{"said_session": "s2"}, {"said_user": "u2"}])
def test_mixed(said: dict[str, Any]) -> None:
    """A reply that names another session, or another user, breaks a rule."""
    assert rules(login(), ok("Validate", 20, 21, **said)) == ["mixed"]


def row(event: str, reason: str = "", session: str = SESSION) -> AuditRow:
    """An event on record."""
    return AuditRow(event, session, USER, reason)


CREATED, ROTATED, REVOKED = (
    row("session.created"),
    row("token.rotated", "generation 0"),
    row("session.revoked"),
)
LIFE = [
    login(),
    ok("Refresh", 30, 34, token="t0", successor="t1"),
    ok("Revoke", 60, 64, count=1, revision=1),
]


def test_on_record() -> None:
    """The log that has each change once breaks no rule, whether it was acknowledged or not."""
    unheard = unknown("Login", 0, 10, session="")

    assert rules(*LIFE, audit=[CREATED, ROTATED, REVOKED]) == []
    assert (
        rules(*LIFE, unheard, audit=[CREATED, ROTATED, REVOKED, row("session.created", session="s2")]) == []
    )


@pytest.mark.parametrize(
    "audit",
    [
        [ROTATED, REVOKED],
        [CREATED, REVOKED],
        [CREATED, ROTATED],
        [CREATED, CREATED, ROTATED, REVOKED],
        [CREATED, ROTATED, REVOKED, REVOKED],
        [CREATED, ROTATED, REVOKED, row("token.rotated", "generation 7")],
        [CREATED, ROTATED, REVOKED, row("session.created", session="s2")],
    ],
    ids=[
        "login missing",
        "refresh missing",
        "revocation missing",
        "login twice",
        "revocation twice",
        "unasked rotation",
        "unasked login",
    ],
)
def test_not_on_record(audit: list[AuditRow]) -> None:
    """A change that is missing, there twice, or that nobody asked for, breaks a rule."""
    assert set(rules(*LIFE, audit=audit)) == {"audited"}


def test_revoked_without_an_event() -> None:
    """A session that SQL has as revoked, of which no event tells, breaks a rule."""
    sessions = [SessionRow(SESSION, USER, revoked=True, generation=0)]

    assert rules(login(), audit=[CREATED], sessions=sessions) == ["audited"]
    assert rules(login(), unknown("Revoke", 1, 2), audit=[CREATED, REVOKED], sessions=sessions) == []


def test_throttled() -> None:
    """A password looked at before the wait was over means that a counter ran back, unless the cache was lost."""
    told = refused("Guess", 100, 110, "RATE_LIMITED", session="", wait_ms=5_000)
    early = refused("Guess", 2_000, 2_030, "INVALID_CREDENTIALS", 1, session="")
    after = refused("Guess", 5_200, 5_230, "INVALID_CREDENTIALS", 1, session="")

    assert rules(told, early) == ["throttled"]
    assert rules(told, after) == []
    assert rules(told, early, faults=[Fault("cache flushed", (0, 1), 1_000, 1_100)]) == []
    assert rules(told, early, faults=[Fault("sql killed", (0, 1), 1_000, 1_100)]) == ["throttled"]


def served(at: int, instance: int = 0) -> list[Call]:
    """What shows that an instance serves."""
    return [ok("Validate", at, at + 5, instance), ok("List", at, at + 5, instance, session="", user="")]


def test_recovered() -> None:
    """Two seconds after the last fault every instance serves, from the cache and from SQL, and goes on doing so."""
    quiet = [(10_000, 14_000)]
    late = unknown("Validate", 13_000, 13_100)

    assert rules(login(), *served(11_000), quiet=quiet) == []
    assert rules(login(), *served(12_500), quiet=quiet) == ["recovered"]
    assert rules(login(), *served(11_000)[:1], quiet=quiet) == ["recovered"]
    assert rules(login(), *served(11_000), served(12_500, 1)[0], quiet=quiet) == ["recovered"]
    assert rules(login(), *served(11_000), late, quiet=quiet) == ["recovered"]
    assert rules(login(), *served(11_000), replace(late, reason=IMPATIENT), quiet=quiet) == []


def test_own_lateness_is_nobodys_fault() -> None:
    """When the recording process itself was late, the others get as much longer."""
    quiet = [(10_000, 14_000)]

    assert rules(login(), *served(12_500), quiet=quiet, lateness=[(11_000, 800)]) == []


def test_incident() -> None:
    """INTERNAL is never an answer."""
    assert rules(login(), unknown("Validate", 20, 21, "INTERNAL")) == ["incidents"]


def test_cache_was_not_told() -> None:
    """A session that has ended and lives on in the cache breaks a rule, unless an instance was killed on its way."""
    calls = [login(), unknown("Revoke", 20, 30)]
    inside: dict[str, Any] = {
        "sessions": [SessionRow(SESSION, USER, revoked=True, generation=0)],
        "cached_live": [SESSION],
    }

    assert rules(*calls, **inside) == ["told"]
    assert rules(*calls, **inside, ended_abruptly=True) == []
