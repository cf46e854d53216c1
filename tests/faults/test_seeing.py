"""The harness sees: with a guard taken out of the instances it goes red, and for the right reason.

The guards are taken out by `unguarded`, loaded into the instances from here; nothing in the service can do that.
"""

import asyncio

import pytest

from tests.faults.asking import LATE
from tests.faults.calling import Callers, Held
from tests.faults.checking import check
from tests.faults.deployment import now_ms
from tests.faults.nemesis import Nemesis
from tests.faults.running import SKEW_MS, WATCHED, Plan, Script, run

ROUNDS = 45


async def race(_: Nemesis, callers: Callers, held: Held) -> None:
    """Present each refresh token at every instance at once."""
    for _round in range(ROUNDS):
        token = held.refresh_token
        replies = await asyncio.gather(*(callers.refresh(number % 3, held, token) for number in range(4)))
        tokens = [reply.tokens.refresh_token for reply in replies if reply is not None]
        if not tokens:
            return
        held.refresh_token = tokens[0]


async def fail_over_behind_its_back(nemesis: Nemesis, callers: Callers, held: Held) -> None:
    """One instance is cut off from SQL; another revokes; the replica that takes over had not heard of it."""
    ended = await callers.login(1, WATCHED)
    assert ended is not None
    await callers.validate(0, ended)
    cut = asyncio.create_task(nemesis.cause("sql wire 0 cut", 11.0))
    stale = asyncio.create_task(nemesis.cause("cache failed over", 1.5, after_s=0.5))
    await asyncio.sleep(1.0)
    await callers.revoke(1, ended)
    await stale
    until = now_ms() + 8_000
    while now_ms() < until:
        await callers.validate(0, ended)
        await asyncio.sleep(0.1)
    await cut


async def give_up_midway(nemesis: Nemesis, callers: Callers, _: Held) -> None:
    """Revoke over slow wires, with a patience that ends now before, now during, now after the commit."""
    logins = [await callers.login(number % 3, WATCHED) for number in range(ROUNDS)]
    held = [login for login in logins if login is not None]
    slow = [asyncio.create_task(nemesis.cause(f"sql wire {number} delayed", 15.0)) for number in range(3)]
    await asyncio.sleep(0.1)
    for start in range(0, len(held), 3):
        patience_s = 0.65 + 0.01 * start
        await asyncio.gather(
            *(
                callers.revoke(number, each, patience_s=patience_s)
                for number, each in enumerate(held[start : start + 3])
            )
        )
    await asyncio.gather(*slow)


CASES: dict[str, tuple[Script, str]] = {
    "conditional update": (race, "successors"),
    "generation": (fail_over_behind_its_back, "revoked"),
    "shield": (give_up_midway, "told"),
}


@pytest.mark.parametrize("guard", CASES)
@LATE
async def test_without(guard: str) -> None:
    """A deployment without this guard breaks the promise that the guard is there for."""
    script, rule = CASES[guard]

    history = await run(Plan(without=guard, script=script, clients=0))

    assert rule in {violation.rule for violation in check(history, skew_ms=SKEW_MS)}


@pytest.mark.parametrize("guard", CASES)
@LATE
async def test_with(guard: str) -> None:
    """The very same calls and faults break nothing where the guard is in place."""
    script, _ = CASES[guard]

    history = await run(Plan(script=script, clients=0))

    assert [str(violation) for violation in check(history, skew_ms=SKEW_MS)] == []
