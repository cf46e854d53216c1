"""The verdict on a refresh token that did not rotate: every case, and every boundary."""

from dataclasses import replace
from typing import Any

import pytest

from authsvc.core.clock import SECOND
from authsvc.core.model import RefreshState, RevokeReason
from authsvc.core.refresh import REPLAY_LIMIT, REPLAY_WINDOW, Verdict, judge
from authsvc.core.tokens import RefreshToken
from tests.parts.records import NOW, a_session, a_user, hash_of

G = 5
SESSION = a_session(a_user(), client_id="web")


def token(generation: int, name: str) -> RefreshToken:
    """A token of a generation."""
    return RefreshToken(SESSION.id, generation, b"secret", hash_of(name))


def state(**changes: Any) -> RefreshState:
    """A row that has just rotated to G."""
    return replace(RefreshState(G, hash_of("now"), hash_of("before"), NOW, b"sealed", 0), **changes)


CASES = [
    ("the one before, at once", token(G - 1, "before"), {}, 0, Verdict.REPLAY),
    ("at the window's end", token(G - 1, "before"), {}, REPLAY_WINDOW, Verdict.REPLAY),
    ("past the window", token(G - 1, "before"), {}, REPLAY_WINDOW + 1, Verdict.REUSED),
    ("last replay", token(G - 1, "before"), {"replay_count": REPLAY_LIMIT - 1}, 0, Verdict.REPLAY),
    ("one replay too many", token(G - 1, "before"), {"replay_count": REPLAY_LIMIT}, 0, Verdict.REUSED),
    ("the one before, forged", token(G - 1, "forged"), {}, 0, Verdict.NOT_ACTIVE),
    ("never rotated", token(G - 1, "before"), {"rotated_at": None}, 0, Verdict.REUSED),
    ("older", token(G - 2, "any"), {}, 0, Verdict.REUSED),
    ("oldest", token(0, "any"), {}, 10**10, Verdict.REUSED),
    ("this one, forged", token(G, "forged"), {}, 0, Verdict.NOT_ACTIVE),
    ("from the future", token(G + 1, "any"), {}, 0, Verdict.NOT_ACTIVE),
]


@pytest.mark.parametrize(
    ("presented", "changes", "late_ms", "verdict"),
    [case[1:] for case in CASES],
    ids=[case[0] for case in CASES],
)
def test_verdict(presented: RefreshToken, changes: dict[str, Any], late_ms: int, verdict: Verdict) -> None:
    """What a token is follows from generation, hash, time and count, and from nothing else."""
    session = replace(SESSION, refresh_expires_at=10**15, refresh_idle_expires_at=10**15)

    assert judge(presented, "web", session, state(**changes), NOW + late_ms) is verdict


@pytest.mark.parametrize("presented", [case[1] for case in CASES], ids=[case[0] for case in CASES])
def test_other_client(presented: RefreshToken) -> None:
    """To another client every token is the same: not its own."""
    assert judge(presented, "app", SESSION, state(), NOW) is Verdict.WRONG_CLIENT


@pytest.mark.parametrize("presented", [case[1] for case in CASES], ids=[case[0] for case in CASES])
@pytest.mark.parametrize(
    "ended",
    [
        {"revoked_at": NOW, "revoke_reason": RevokeReason.USER},
        {"refresh_expires_at": NOW},
        {"refresh_idle_expires_at": NOW},
        {"refresh_expires_at": None},
    ],
)
def test_ended_session(presented: RefreshToken, ended: dict[str, Any]) -> None:
    """Of a session that has ended every token is not active: there is nothing left to protect."""
    assert judge(presented, "web", replace(SESSION, **ended), state(), NOW) is Verdict.NOT_ACTIVE


@pytest.mark.parametrize("field", ["refresh_expires_at", "refresh_idle_expires_at"])
@pytest.mark.parametrize(("late_ms", "verdict"), [(-1, Verdict.REPLAY), (0, Verdict.NOT_ACTIVE)])
def test_deadlines(field: str, late_ms: int, verdict: Verdict) -> None:
    """A deadline is the first moment at which a token is no good any more."""
    deadline: dict[str, Any] = {field: NOW + SECOND}
    session = replace(SESSION, **deadline)

    assert judge(token(G - 1, "before"), "web", session, state(), NOW + SECOND + late_ms) is verdict
