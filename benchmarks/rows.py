"""Owns the table's rows, in order. A new row is one entry of ROWS: anything with a name, a line about it and `measure`.

`Rpc` rows let the load call a server; `Local` rows do their work in this process and call nobody.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from benchmarks import callers, edge_calls, guarded_calls, verifying
from benchmarks.client_rows import Coalesced, LargeView, Revocation
from benchmarks.flood import LoginFloodRow
from benchmarks.load import Slice
from benchmarks.overload import OverloadRow
from benchmarks.samples import Sample
from benchmarks.sizing import Sizes
from benchmarks.stage import Stage
from benchmarks.working import Workers

IN_FLIGHT = 128
# As many tokens as 1,024 callers validate one by one: more at once is nothing but a queue in front of the cache.
BATCHES_IN_FLIGHT = 16
_EDGE_IN_FLIGHT = 16


class Row(Protocol):
    """One row of the table."""

    @property
    def name(self) -> str:
        """Its name, as in `--only`."""

    @property
    def about(self) -> str:
        """What is measured, in a few words."""

    def measure(self, stage: Stage, seconds: float) -> Sample:
        """Take one sample, in about so many seconds."""


@dataclass(frozen=True, slots=True)
class Rpc:
    """Calls to a server of the stage. `size` tokens a call; `also` measures latency at fewer in flight, for `more`."""

    name: str
    about: str
    server: str
    work: type[callers.Work]
    size: int = 1
    in_flight: int = IN_FLIGHT
    also: tuple[int, ...] = ()

    def measure(self, stage: Stage, seconds: float) -> Sample:
        """Let the load call for so many seconds."""
        server = stage.server(self.server)
        order = Slice(self.work, server.address, self.in_flight, seconds, server.watched, self.size)
        sample = stage.measure(order, server.seeded)
        for in_flight in self.also:
            few = stage.measure(replace(order, in_flight=in_flight, seconds=seconds / 4), server.seeded)
            sample.more[f"p50_ms_at_{in_flight}"] = few.p50_ms
            sample.more[f"p99_ms_at_{in_flight}"] = few.p99_ms
        return sample


@dataclass(frozen=True, slots=True)
class Local:
    """Work in this process."""

    name: str
    about: str
    work: Callable[[float], Sample]

    def measure(self, stage: Stage, seconds: float) -> Sample:
        """Work for so many seconds."""
        return self.work(seconds)


ECHO = Rpc("echo", "bare grpc.aio, 64 bytes there and back", "echo", callers.Echo, also=(1, 16))

ROWS: tuple[Row, ...] = (
    ECHO,
    Rpc("echo_of_a_token", "the echo with 512 bytes and a client key", "echo", callers.LargerEcho),
    Rpc("validate_session", "ValidateSession", "sqlite", callers.ValidateSession, also=(1, 16)),
    Rpc(
        "batch_validate_16",
        "BatchValidateSessions of 16, per token",
        "sqlite",
        callers.Batch16,
        size=16,
        in_flight=4 * BATCHES_IN_FLIGHT,
    ),
    Rpc(
        "batch_validate_64",
        "BatchValidateSessions of 64, per token",
        "sqlite",
        callers.Batch64,
        size=64,
        in_flight=BATCHES_IN_FLIGHT,
    ),
    Rpc("introspect_jwt", "Introspect of an access token seen before", "sqlite", callers.IntrospectJwt),
    Rpc("introspect_session", "Introspect of a session token", "sqlite", callers.IntrospectSession),
    Rpc("refresh_sqlite", "Refresh on SQLite", "sqlite", callers.Refresh),
    Rpc("refresh_postgres", "Refresh on PostgreSQL", "postgres", callers.Refresh),
    Rpc("revoke_postgres", "Revoke on PostgreSQL", "postgres", callers.Revoke, in_flight=32),
    Rpc("login", "Login, argon2id included, on PostgreSQL", "postgres", callers.Login, in_flight=8),
    Local("local_verify_cold", "strict verification of a token not seen before", verifying.cold),
    Local("local_verify_warm", "strict verification of a token seen before", verifying.warm),
    Local("pyjwt_decode", "PyJWT with a prebuilt key, for comparison", verifying.pyjwt),
    Rpc(
        "guarded_echo",
        "the echo, guarded; a token seen before",
        "guarded",
        guarded_calls.WithAccessToken,
        also=(1, 16),
    ),
    Coalesced("coalesced_1", "session tokens at a guarded service, authsvc's CPU, 1 in flight", 1),
    Coalesced("coalesced_16", "the same, 16 in flight", 16),
    Coalesced("coalesced_128", "the same, 128 in flight", 128),
    Rpc(
        "edge_unasked",
        "the echo through Envoy, on a route that asks nobody",
        "edge_unasked",
        edge_calls.Known,
        in_flight=_EDGE_IN_FLIGHT,
        also=(1,),
    ),
    Rpc(
        "edge",
        "the same, cookie in, JWT out (ext_authz): tokens ready; authsvc's CPU",
        "edge",
        edge_calls.Known,
        in_flight=_EDGE_IN_FLIGHT,
        also=(1,),
    ),
    Rpc(
        "edge_cold",
        "the same, a token signed for each call",
        "edge",
        edge_calls.New,
        in_flight=_EDGE_IN_FLIGHT,
        also=(1,),
    ),
    Revocation("revocation_1", "Revoke returned → refused at a verifier, 1 subscriber", 1),
    Revocation("revocation_100", "the same, 100 subscribers", 100),
    Revocation("revocation_1000", "the same, 1,000 subscribers", 1_000),
    LargeView(),
    OverloadRow(),
    LoginFloodRow(),
    Sizes(),
    Workers(),
)
