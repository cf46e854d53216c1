"""Owns a run: a deployment, clients, faults, and the record of it all. Leaves judging it to `checking`."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy import select

from authsvc.core.contracts import CacheAnswer
from authsvc.core.tokens import Kind
from authsvc.outside import wall_clock
from authsvc.stores.sql.schema import audit_events, sessions
from authsvc.stores.valkey import open_cache
from tests.faults.calling import Callers, Held
from tests.faults.deployment import Deployment, deployment, now_ms
from tests.faults.history import AuditRow, History, SessionRow
from tests.faults.nemesis import Nemesis
from tests.faults.workload import Client, guess, probe, watch_own_time

WATCHED, VICTIM = "watched", "victim"
_QUIET_S = (2.2, 3.0)
SKEW_MS = 1_000

Script = Callable[[Nemesis, Callers, Held], Awaitable[None]]


@dataclass
class Plan:
    """What a run is to be. `script` takes the place of faults by seed; `skews_ms`: how far clocks are off, by seed if
    nothing is said; `without`: a guard to leave out."""

    seed: int = 1
    seconds: float = 10.0
    instances: int = 3
    clients: int = 6
    without: str = ""
    script: Script | None = None
    skews_ms: Sequence[int] = ()
    settings: Mapping[str, str] = field(default_factory=dict)
    say: Callable[[str], None] = lambda _: None


async def run(plan: Plan) -> History:
    """Run it, and return what is on record. Raises NotServing, if an instance does not start."""
    names = [f"user{number}" for number in range(plan.clients)]
    skews = plan.skews_ms or _skews(plan)
    async with deployment(
        plan.instances,
        skews_ms=skews,
        without=plan.without,
        users=[*names, WATCHED, VICTIM],
        settings={"LOG_LEVEL": "info", **plan.settings},
    ) as deployed:
        history = History()
        callers = Callers(deployed, history)
        clients = [
            Client(callers, plan.instances, name, random.Random(f"{plan.seed} {name}")) for name in names
        ]
        watched = await callers.login(0, WATCHED)
        assert watched is not None
        stop = asyncio.Event()
        guessing = guess(callers, plan.instances, VICTIM, random.Random(f"{plan.seed} guess"), stop)
        background = [
            asyncio.create_task(work)
            for work in (
                watch_own_time(history, stop),
                guessing,
                *(probe(callers, number, watched, stop) for number in range(plan.instances)),
                *(client.run(stop) for client in clients),
            )
        ]
        try:
            await _break_things(plan, deployed, callers, watched)
            stop.set()
            await asyncio.gather(*background)
        finally:
            for task in background:
                task.cancel()
        await asyncio.gather(*(client.look_at_all() for client in clients))
        await _look_inside(deployed, callers)
        return history


def _skews(plan: Plan) -> list[int]:
    """One clock is right, the others are off by a second at most."""
    choose = random.Random(f"{plan.seed} clocks")
    return [0, *(choose.randint(-SKEW_MS, SKEW_MS) for _ in range(plan.instances - 1))]


async def _break_things(plan: Plan, deployed: Deployment, callers: Callers, watched: Held) -> None:
    history = callers.history
    nemesis = Nemesis(deployed, history, random.Random(f"{plan.seed} faults"))
    deadline = time.monotonic() + plan.seconds
    if plan.script is not None:
        await plan.script(nemesis, callers, watched)
        await _settle(callers, random.Random(0))
        return
    choose = random.Random(f"{plan.seed} rests")
    while time.monotonic() < deadline:
        before = len(history.faults)
        await nemesis.cycle()
        await _settle(callers, choose)
        kinds = ", ".join(fault.kind for fault in history.faults[before:])
        plan.say(f"{nemesis.cycles:4} {len(history.faults):5} {len(history.calls):7}  {kinds}")
    history.ended_abruptly = any("killed" in f.kind or "paused" in f.kind for f in history.faults)


async def _settle(callers: Callers, choose: random.Random) -> None:
    """Rest until everything ought to be whole again, and a little longer if need be."""
    began = now_ms()
    await asyncio.sleep(choose.uniform(*_QUIET_S))
    callers.history.quiet.append((began, now_ms()))


async def _look_inside(deployed: Deployment, callers: Callers) -> None:
    """Put on record what the stores hold."""
    history = callers.history
    event, row = audit_events.c, sessions.c
    found = await deployed.stores.database.read(
        select(event.event, event.session_id, event.user_id, event.reason).order_by(event.id)
    )
    history.audit = [AuditRow(*(str(value or "") for value in each)) for each in found]
    found = await deployed.stores.database.read(
        select(row.id, row.user_id, row.revoked_at, row.refresh_generation)
    )
    history.sessions = [
        SessionRow(str(each[0]), str(each[1]), each[2] is not None, int(each[3])) for each in found
    ]
    hashes = [deployed.mint.hash_of(Kind.SESSION, held.session_token) for held in callers.begun]
    position = await deployed.stores.log.position()
    cache = await open_cache(deployed.cache.primary.url, position.epoch)
    answers = await cache.sessions.validate_many(hashes, wall_clock())
    await cache.close()
    history.cached_live = [
        held.id
        for held, answer in zip(callers.begun, answers, strict=True)
        if isinstance(answer, CacheAnswer)
    ]
