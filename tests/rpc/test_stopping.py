"""An instance that stops under load."""

import asyncio
from collections import Counter
from typing import Any

import grpc
import grpc.aio
import pytest
from prometheus_client import CollectorRegistry

from authsvc.core.errors import Stopping
from authsvc.rpc.call import Call
from authsvc.rpc.interceptors import Doors
from authsvc.rpc.metrics import CallMetrics
from authsvc.v1 import auth_service_pb2 as pb
from tests.parts.service import run_service

_CALLERS = 48


async def test_no_accepted_call_fails(sqlite_url: str) -> None:
    """Every call that an instance had let in when it stopped, under full load, is answered, and the answer comes."""
    ends: Counter[str] = Counter()
    async with run_service(sqlite_url, "none") as service:
        login = await service.login()
        request = pb.IntrospectRequest(token=login.tokens.access_token)

        async def call_until_refused() -> None:
            while True:
                try:
                    await service.auth.Introspect(request, metadata=service.by("gateway"), timeout=20)
                    ends["OK"] += 1
                except grpc.aio.AioRpcError as error:
                    ends[error.code().name] += 1
                    return

        calling = [asyncio.create_task(call_until_refused()) for _ in range(_CALLERS)]
        while ends["OK"] < 2 * _CALLERS:  # noqa: ASYNC110  the callers count
            await asyncio.sleep(0.01)
        await service.app.stop()
        await asyncio.gather(*calling)
        answered = _handled(service.app.metrics)

    assert answered.keys() <= {"OK", "UNAVAILABLE"}
    assert ends["OK"] == answered["OK"]
    assert sum(ends.values()) - ends["OK"] == _CALLERS


def _handled(metrics: CollectorRegistry) -> Counter[str]:
    """Introspections by how they ended, as the instance counted them."""
    samples = (sample for family in metrics.collect() for sample in family.samples)
    return Counter(
        {
            sample.labels["grpc_code"]: int(sample.value)
            for sample in samples
            if sample.name == "grpc_server_handled_total" and sample.labels["grpc_method"] == "Introspect"
        }
    )


async def test_the_doors_close_at_a_quiet_moment() -> None:
    """An instance waits for a moment without calls; if none comes, it lets none in until those under way are done."""
    metrics = CallMetrics(CollectorRegistry())
    doors = Doors(metrics)
    method: Any = None
    entered = doors.wrap(_answer, method)
    metrics.under_way = 1

    closing = asyncio.create_task(doors.close(patience_ms=20, grace_ms=20_000))
    await asyncio.sleep(0)
    let_in = entered(None, Call((), str, None))
    while doors._open:  # noqa: ASYNC110  it closes by itself
        await asyncio.sleep(0.001)
    waits = not closing.done()
    with pytest.raises(Stopping):
        entered(None, Call((), str, None))
    metrics.under_way = 0
    await asyncio.wait_for(closing, timeout=5)

    assert await let_in == "answered"
    assert waits


async def _answer(request: Any, call: Call) -> str:
    return "answered"
