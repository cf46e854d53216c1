"""Owns the rows of the client package that are more than calls to one server. Leaves their order to `rows`."""

from dataclasses import dataclass
from time import perf_counter

from authsvc.core.model import Permission
from benchmarks import callers, following, guarded_calls, revoking, viewing
from benchmarks.load import Slice
from benchmarks.samples import Sample
from benchmarks.seed import Seeded
from benchmarks.stage import Stage

# Those that measure; the others only follow.
_WATCHERS = 4


@dataclass(frozen=True, slots=True)
class Coalesced:
    """Session tokens validated by a guarded service: `cpu_us` is authsvc's, `client_us` the whole guarded call's.

    `against_unary`: authsvc's CPU against as many callers of ValidateSession, measured a moment before.
    """

    name: str
    about: str
    in_flight: int

    def measure(self, stage: Stage, seconds: float) -> Sample:
        """Let the load call ValidateSession for a while, and then the guarded service."""
        authsvc, guarded = stage.sqlite, stage.guarded
        unary = Slice(callers.ValidateSession, authsvc.address, self.in_flight, seconds / 2, authsvc.watched)
        watched = {**authsvc.watched, "client_us": guarded.watched["cpu_us"]}
        work = guarded_calls.WithSessionToken
        coalesced = Slice(work, guarded.address, self.in_flight, seconds, watched)
        alone = stage.measure(unary, authsvc.seeded)
        sample = stage.measure(coalesced, guarded.seeded)
        sample.more["unary_us"] = alone.cpu_us
        sample.more["against_unary"] = sample.cpu_us / alone.cpu_us
        return sample


@dataclass(frozen=True, slots=True)
class Revocation:
    """How long until verifiers refuse, with so many subscribers. All leave between slices: they are heard of each
    second, and other rows should not pay for that."""

    name: str
    about: str
    subscribers: int

    def measure(self, stage: Stage, seconds: float) -> Sample:
        """Revoke for twice so many seconds."""
        server = stage.followed
        assert server.seeded is not None
        self._join(stage, server.address, server.seeded)
        pid = server.watched["cpu_us"]
        order = revoking.Revoke(server.address, server.seeded, 2 * seconds, pid)
        sample: Sample = stage.ask(revoking.run, order)
        for run in (revoking.run, following.run):
            stage.ask(run, None)
        return sample

    def _join(self, stage: Stage, address: str, seeded: Seeded) -> None:
        """Those who measure are spread evenly among the others, who are told in the order they came."""
        watchers = min(self.subscribers, _WATCHERS)
        crowd = self.subscribers // watchers - 1
        key = seeded.client_keys[Permission.INTROSPECT.value]
        for _ in range(watchers):
            if crowd:
                stage.ask(following.run, following.Join(address, key, crowd))
            stage.ask(revoking.run, revoking.Join(address, seeded))


class LargeView:
    """Memory of a view of 1,000,000 entries, in an instance and in a client, and how long loading it takes.

    Measured once in a run, whatever the rounds.
    """

    name = "view_million"
    about = "a view of 1,000,000 revocations, loaded from a snapshot"

    def __init__(self) -> None:
        self._sample: Sample | None = None

    def measure(self, stage: Stage, seconds: float) -> Sample:
        """Load it, however long that takes."""
        if self._sample is None:
            self._sample = self._loaded(stage)
        return self._sample

    def _loaded(self, stage: Stage) -> Sample:
        database = stage.directory / "viewed.db"
        place, seeded = stage.place("viewed")
        with stage.instance(place, seeded) as server:
            empty = viewing.memory_of(server.watched["cpu_us"])
        viewing.fill(database)
        began = perf_counter()
        with stage.instance(place, seeded) as server:
            started_s = perf_counter() - began
            held = viewing.memory_of(server.watched["cpu_us"]) - empty
            order = viewing.View(server.address, seeded.client_keys[Permission.INTROSPECT.value])
            viewed: viewing.Viewed = stage.ask(viewing.run, order)
        nan = float("nan")
        return Sample(
            cpu_us=nan,
            rate=viewing.ENTRIES / viewed.seconds,
            p50_ms=nan,
            p99_ms=nan,
            more={
                "bytes_per_entry": viewed.size / viewing.ENTRIES,
                "cold_load_s": viewed.seconds,
                "cold_load_cpu_s": viewed.cpu_seconds,
                "server_bytes_per_entry": held / viewing.ENTRIES,
                "server_start_s": started_s,
            },
        )
