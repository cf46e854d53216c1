"""The fifth row of the table in docs/failures.md: an instance is killed -9 at named points of a change.

Each point is one in a process of its own, which kills itself on its way past it (see `launching`); what became of the
change is then asked of another instance, while the first one starts again.
"""

from collections.abc import Awaitable, Callable

import pytest

from tests.faults.asking import LATE, Asking
from tests.faults.calling import said

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.xdist_group("killed instances")]


async def killed_at(point: str, asking: Asking, victim: int, call: Callable[[], Awaitable[str]]) -> None:
    """Make a call that the instance does not survive."""
    asking.instances[victim].arm(point)
    assert await call() == "UNAVAILABLE"
    assert await asking.instances[victim].died(within_s=5)
    asking.instances[victim].launch()


def points(rpc: str, *places: str, always: str) -> list[object]:
    """Points of an RPC, the one that tells most always, the others if there is time."""
    return [
        pytest.param(f"{rpc} {place}", marks=() if place == always else LATE, id=place) for place in places
    ]


@pytest.mark.parametrize(
    "point",
    points("Login", "before commit", "after commit", "before cache", "before reply", always="after commit"),
)
async def test_login(asking: Asking, point: str) -> None:
    """A login that was not acknowledged leaves nothing that anybody could use; the next one works, anywhere."""
    sessions = await _count_sessions(asking)

    await killed_at(point, asking, 0, lambda: said(asking.log_in(0)))

    login = await asking.log_in(1)
    assert await asking.validate(1, login) == "OK"
    assert await _count_sessions(asking) - sessions == (1 if point == "Login before commit" else 2)


@pytest.mark.parametrize(
    "point", points("Refresh", "before commit", "after commit", "before reply", always="after commit")
)
async def test_refresh(asking: Asking, point: str) -> None:
    """Before the commit the token is not used up; after it, the same token brings the same successor."""
    login = await asking.log_in(1)

    await killed_at(point, asking, 1, lambda: said(asking.refresh(1, login.tokens.refresh_token)))

    first = await asking.refresh(0, login.tokens.refresh_token)
    again = await asking.refresh(0, login.tokens.refresh_token)
    assert first.replayed is (point != "Refresh before commit")
    assert again.tokens.refresh_token == first.tokens.refresh_token
    assert not (await asking.refresh(0, first.tokens.refresh_token)).replayed


@pytest.mark.parametrize(
    "point",
    points("Revoke", "before commit", "after commit", "before cache", "before reply", always="after commit"),
)
async def test_revoke(asking: Asking, point: str) -> None:
    """Before the commit nothing has ended; after it the session has, and to ask again is OK and counts at once."""
    login = await asking.in_every_cache()

    await killed_at(point, asking, 0, lambda: asking.revoke(0, login))

    if point == "Revoke before commit":
        assert await asking.validate(1, login) == "OK"
    assert await asking.revoke(1, login) == "OK"
    assert await asking.validate(1, login) == "SESSION_NOT_ACTIVE"
    await asking.deployment.mend()
    assert await asking.validate(0, login) == "SESSION_NOT_ACTIVE"


async def _count_sessions(asking: Asking) -> int:
    return len(
        await asking.deployment.stores.sessions.list_user(
            asking.deployment.user_ids["alice"], 1000, None, None
        )
    )
