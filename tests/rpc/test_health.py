"""grpc.health.v1, and what a server offers besides its own services."""

import asyncio
from typing import Any
from unittest.mock import AsyncMock

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2 as pb
from grpc_reflection.v1alpha import reflection_pb2

from authsvc.core.contracts import StoreUnavailable
from authsvc.core.model import Permission
from authsvc.rpc.health import Health
from authsvc.rpc.policy import SERVICES
from tests.parts.service import Service, run_service

SERVING, NOT_SERVING = pb.HealthCheckResponse.SERVING, pb.HealthCheckResponse.NOT_SERVING
NAMES = ["", "authsvc.v1", *(service.full_name for service in SERVICES)]


def check(service: Service, name: str) -> Any:
    """Health/Check."""
    call: Any = service.channel.unary_unary(
        "/grpc.health.v1.Health/Check",
        pb.HealthCheckRequest.SerializeToString,
        pb.HealthCheckResponse.FromString,
    )
    return call(pb.HealthCheckRequest(service=name))


def watch(service: Service, name: str) -> Any:
    """Health/Watch."""
    call: Any = service.channel.unary_stream(
        "/grpc.health.v1.Health/Watch",
        pb.HealthCheckRequest.SerializeToString,
        pb.HealthCheckResponse.FromString,
    )
    return call(pb.HealthCheckRequest(service=name))


def all_of(service: Service) -> Any:
    """Health/List."""
    call: Any = service.channel.unary_unary(
        "/grpc.health.v1.Health/List",
        pb.HealthListRequest.SerializeToString,
        pb.HealthListResponse.FromString,
    )
    return call(pb.HealthListRequest())


def reflect(service: Service, version: str) -> Any:
    """Ask reflection for the list of services."""
    call: Any = service.channel.stream_stream(
        f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
        reflection_pb2.ServerReflectionRequest.SerializeToString,
        reflection_pb2.ServerReflectionResponse.FromString,
    )
    return call(iter([reflection_pb2.ServerReflectionRequest(list_services="")]))


@pytest.mark.parametrize("name", NAMES)
async def test_check(service: Service, name: str) -> None:
    """The server and each of its services is SERVING once it takes calls; nobody needs a key to ask."""
    assert (await check(service, name)).status == SERVING


async def test_check_of_unknown(service: Service) -> None:
    """A service that is not here is NOT_FOUND."""
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await check(service, "no.such.Service")

    assert refused.value.code() is grpc.StatusCode.NOT_FOUND


async def test_list(service: Service) -> None:
    """All of them can be had at once."""
    statuses = (await all_of(service)).statuses

    assert {name: each.status for name, each in statuses.items()} == dict.fromkeys(NAMES, SERVING)


async def test_watch(service: Service) -> None:
    """Who watches hears of each change."""
    stream = watch(service, "authsvc.v1.AuthService")
    heard = [(await stream.read()).status]

    for serving in (False, True):
        service.app.health.set(serving)
        heard.append((await stream.read()).status)

    stream.cancel()
    assert heard == [SERVING, NOT_SERVING, SERVING]


async def test_watch_of_unknown(service: Service) -> None:
    """Who watches a service that is not here is told that it is unknown."""
    stream = watch(service, "no.such.Service")

    assert (await stream.read()).status == pb.HealthCheckResponse.SERVICE_UNKNOWN
    stream.cancel()


async def test_not_serving_while_it_drains(sqlite_url: str) -> None:
    """An instance that stops says so at once, keeps saying so, still answers, and ends the watches."""
    async with run_service(sqlite_url, "none") as service:
        stream = watch(service, "")
        await stream.read()
        stopping = asyncio.create_task(service.app.stop(drain_ms=2_500))

        heard = [(await stream.read()).status, await stream.read()]
        await asyncio.sleep(1.5)
        answered = (await check(service, "")).status
        await stopping

    assert heard == [NOT_SERVING, grpc.aio.EOF]
    assert answered == NOT_SERVING


async def test_a_watch_is_told_before_it_ends() -> None:
    """What changes while something is being sent is sent, too, also when it is the last. Guard: the `elif` in Watch."""
    health = Health([])
    health.set(True)
    stream = health.Watch(pb.HealthCheckRequest(), AsyncMock())

    first = await anext(stream)
    health.close()

    assert [first.status, *[each.status async for each in stream]] == [SERVING, NOT_SERVING]


async def test_not_serving_when_the_view_is_too_old(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An instance that has not read the log for too long says that it is not to be asked."""
    stream = watch(service, "")
    await stream.read()

    async def unavailable() -> None:
        raise StoreUnavailable

    monkeypatch.setattr(service.app.stores.log, "position", unavailable)
    monkeypatch.setattr(service.app._tail, "_monotonic", lambda: 10**15)

    assert (await stream.read()).status == NOT_SERVING
    stream.cancel()
    assert (await check(service, "authsvc.v1")).status == SERVING  # it still answers what it can


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
async def test_reflection_in_development(sqlite_url: str, version: str) -> None:
    """In development reflection answers in both versions that tools ask for, and names both services."""
    async with run_service(sqlite_url, "none", anonymous=frozenset({Permission.LOGIN})) as service:
        answer = await reflect(service, version).read()

    names = {each.name for each in answer.list_services_response.service}
    assert names >= {each.full_name for each in SERVICES}


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
async def test_no_reflection_otherwise(service: Service, version: str) -> None:
    """Outside development there is none."""
    stream = reflect(service, version)

    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stream.read()

    assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED
