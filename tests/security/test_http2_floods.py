"""Attacks on HTTP/2 against a server in a process of its own: whoever else calls meanwhile is served.

What each attack does is in `http2_attacks`. Most guards are gRPC's own, switched on or bounded by
`authsvc/rpc/transport.py:OPTIONS`; `test_http2_bounds` has those that can be tried one by one.
"""

import json
from collections.abc import Callable, Iterator

import pytest

from authsvc.stores.embedded import EmbeddedValkey
from tests.parts.valkey import until
from tests.security.by_hand import Ended
from tests.security.http2_attacks import ATTACKS
from tests.security.served import MEGA, Served, attacked, others_call, served

pytestmark = pytest.mark.xdist_group("attacks")  # one server, one attack at a time

# Generous: on a quiet machine the slowest of these calls takes less than a second.
SLOWEST_S = 5.0
# By how much the server may grow. What gRPC keeps for reuse is in it, and 5,120 calls at 20 KiB.
GROWS_AT_MOST = 170 * MEGA


def _is_told_off(ended: Ended) -> bool:
    """Guard: gRPC's count of strikes, whose measure is `grpc.http2.min_ping_interval_without_data_ms`."""
    return ended.closed or ended.goaway == "11 too_many_pings"


def _is_refused(ended: Ended) -> bool:
    """All but 256 at a time. Guard: `grpc.max_concurrent_streams`.

    11 is ENHANCE_YOUR_CALM, 7 REFUSED_STREAM (RFC 9113 §7).
    """
    return ended.resets.get("11", 0) + ended.resets.get("7", 0) > 9_000


def _is_hung_up_on(ended: Ended) -> bool:
    """Guard: gRPC's own, whatever the options say."""
    return ended.closed


# What can be seen of the guard at work, where anything can.
SEEN: dict[str, Callable[[Ended], bool]] = {
    "pings": _is_told_off,
    "rapid_reset": _is_refused,
    "rapid_calls": _is_refused,
    "idle_streams": _is_refused,
    "continuations": _is_hung_up_on,
    "empty_continuations": _is_hung_up_on,
    "header_bombs": _is_hung_up_on,
    "empty_data": _is_hung_up_on,
    "noise": _is_hung_up_on,
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, shared_valkey: EmbeddedValkey) -> Iterator[Served]:
    """One server for all attacks, one after another: what one leaves behind, the next one finds."""
    with served(tmp_path_factory.mktemp("attacked"), shared_valkey) as running:
        yield running


@pytest.mark.parametrize("name", ATTACKS)
async def test_others_are_served(server: Served, name: str) -> None:
    """Under each attack every call of others succeeds, none takes long, and the server's memory stays in bounds.

    Guards: `OPTIONS`. Without `grpc.server.max_pending_requests` the attacks `idle_streams_everywhere` and
    `slow_readers` cost others their calls; without `grpc.max_concurrent_streams`, more memory than allowed. `SEEN` has
    the others.
    """
    async with others_call(server) as others:
        ended = Ended(**json.loads(await attacked(name, server.port)))

    assert others.failures == []
    assert others.slowest_s < SLOWEST_S
    assert others.grown_bytes < GROWS_AT_MOST
    assert name not in SEEN or SEEN[name](ended), ended
    assert server.serving.process.poll() is None


async def test_nothing_of_it_stays(server: Served) -> None:
    """When the attackers have gone, so have their connections."""

    async def alone() -> bool:
        sockets = server.process.net_connections()
        return not [each for each in sockets if each.laddr.port == server.port and each.raddr]

    await until(alone, within_s=10)
