"""Owns the faults: how each is brought about and healed, and which come when, by seed. Leaves the means to `servers`,
`instances` and `proxy`."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from tests.faults import breaking
from tests.faults.deployment import Deployment, now_ms
from tests.faults.history import Fault, History
from tests.faults.instances import Instance
from tests.faults.launching import PLACES, RPCS
from tests.faults.proxy import Wire

Break = Callable[..., Awaitable[None]]
LONG_S = (5.5, 8.0)
STAGGER_S = 2.5


@dataclass(frozen=True)
class Kind:
    """A kind of fault: how often it comes, what it takes for itself while it lasts, and what it does. `breaks` gets the
    seconds it is to last; `lasts` says between which they are."""

    name: str
    weight: int
    takes: tuple[str, ...]
    instances: tuple[int, ...]
    breaks: Break
    lasts: tuple[float, float] = (0.2, 2.0)
    may_be_long: bool = False


class Nemesis:
    """Breaks things one cycle after the other: some faults at a time, all healed before the next."""

    def __init__(self, deployment: Deployment, history: History, choose: random.Random) -> None:
        self._deployment = deployment
        self._history = history
        self._choose = choose
        self.cycles = 0
        self.kinds = [*self._of_instances(), *self._of_wires(), *self._of_cache(), *self._of_sql()]

    async def cycle(self, count: int = 0) -> None:
        """Break up to nine things, some at once, and heal them."""
        chosen = self._draw(count or self._choose.choice((2, 5, 7, 8, 9)))
        await asyncio.gather(*(self._break(kind, self._choose.uniform(0, STAGGER_S)) for kind in chosen))
        self.cycles += 1

    async def cause(self, name: str, seconds: float, after_s: float = 0.0) -> None:
        """Break one thing, by name."""
        kind = next(kind for kind in self.kinds if kind.name == name)
        await self._break(kind, after_s, seconds)

    def _draw(self, count: int) -> list[Kind]:
        chosen: list[Kind] = []
        taken: set[str] = set()
        while len(chosen) < count:
            free = [kind for kind in self.kinds if not taken.intersection(kind.takes)]
            if not free:
                break
            [kind] = self._choose.choices(free, [kind.weight for kind in free])
            chosen.append(kind)
            taken.update(kind.takes)
        return chosen

    async def _break(self, kind: Kind, after_s: float, seconds: float | None = None) -> None:
        if seconds is None:
            is_long = kind.may_be_long and self._choose.random() < 0.12
            seconds = self._choose.uniform(*(LONG_S if is_long else kind.lasts))
        await asyncio.sleep(after_s)
        began = now_ms()
        await kind.breaks(seconds)
        self._history.faults.append(Fault(kind.name, kind.instances, began, now_ms()))

    def _of_instances(self) -> list[Kind]:
        kinds = []
        for instance in self._deployment.instances:
            takes, near = (f"instance {instance.number}",), (instance.number,)
            kinds += [
                Kind(f"instance {instance.number} killed", 6, takes, near, _bound(breaking.killed, instance)),
                Kind(
                    f"instance {instance.number} killed at a point", 8, takes, near, self._killed_at(instance)
                ),
                Kind(
                    f"instance {instance.number} paused",
                    4,
                    takes,
                    near,
                    _bound(breaking.paused, instance),
                    may_be_long=True,
                ),
            ]
        return kinds

    def _killed_at(self, instance: Instance) -> Break:
        points = [
            f"{rpc} {place}" for rpc in RPCS for place in PLACES if (rpc, place) != ("Refresh", PLACES[2])
        ]
        return lambda seconds: breaking.killed_at(instance, self._choose.choice(points), seconds)

    def _of_wires(self) -> list[Kind]:
        kinds = []
        for instance in self._deployment.instances:
            for store in ("sql", "cache"):
                wire: Wire = getattr(instance, store)
                takes, near = (f"{store} of {instance.number}",), (instance.number,)
                prefix = "cache wire" if store == "cache" else "sql wire"
                for doing, weight, may_be_long in _WIRE_FAULTS:
                    name = f"{prefix} {instance.number} {doing}"
                    make = _bound(breaking.wire, wire, doing)
                    kinds.append(Kind(name, weight, takes, near, make, may_be_long=may_be_long))
        return kinds

    def _of_cache(self) -> list[Kind]:
        all_near = tuple(range(len(self._deployment.instances)))
        doings: list[tuple[str, int, Break]] = [
            ("flushed", 4, breaking.flushed),
            ("restarted", 4, breaking.restarted),
            ("restored from an old backup", 3, breaking.restored),
            ("failed over", 12, breaking.failed_over),
            ("full", 2, breaking.full),
            ("without scripts", 2, breaking.forgetful),
        ]
        return [
            Kind(f"cache {doing}", weight, ("cache",), all_near, _bound(make, self._deployment), (0.2, 1.0))
            for doing, weight, make in doings
        ]

    def _of_sql(self) -> list[Kind]:
        all_near = tuple(range(len(self._deployment.instances)))
        doings: list[tuple[str, int, Break]] = [
            ("killed", 8, breaking.sql_killed),
            ("disconnected", 3, breaking.disconnected),
            ("exhausted", 3, breaking.exhausted),
            ("stalled for all", 2, breaking.stalled_for_all),
        ]
        takes = ("sql", *(f"sql of {number}" for number in all_near))
        return [
            Kind(f"sql {doing}", weight, takes, all_near, _bound(make, self._deployment))
            for doing, weight, make in doings
        ]


_WIRE_FAULTS: tuple[tuple[str, int, bool], ...] = (
    ("stalled", 2, True),
    ("cut", 2, True),
    ("loses replies", 2, False),
    ("delayed", 1, False),
    ("sliced", 1, False),
    ("reset", 1, False),
)


def _bound(breaks: Break, *first: object) -> Break:
    return lambda seconds: breaks(*first, seconds)
