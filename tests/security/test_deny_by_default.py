"""What is not allowed is refused: methods that are not quite ours, tools of development, and whatever breaks inside."""

import io
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2
from hyperframe import frame as frames

from authsvc import logs
from authsvc.core.model import Permission
from authsvc.rpc.interceptors import Authenticate, Observe
from authsvc.rpc.policy import POLICY, Open, methods
from authsvc.stores.embedded import EmbeddedValkey
from authsvc.v1 import auth_service_pb2 as pb
from tests.parts.service import Service, outcome, run_service
from tests.parts.valkey import until
from tests.security.by_hand import EMPTY_MESSAGE, METHOD, connect

CANARY = "kanarie0f63d1c9"
REFLECTION = [
    f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo" for version in ("v1", "v1alpha")
]
# Paths that look like a method of ours. None of them is one.
STRANGE_PATHS = [
    "/authsvc.v1.AuthService/login",
    "/authsvc.v1.AuthService/LOGIN",
    "/authsvc.v1.AuthService/GetKeySet/",
    "/authsvc.v1.AuthService/GetKeySet/Login",
    "/authsvc.v1.AuthService//GetKeySet",
    "//authsvc.v1.AuthService/GetKeySet",
    "/authsvc.v1.authservice/GetKeySet",
    "/AuthService/GetKeySet",
    "/authsvc.AuthService/GetKeySet",
    "/authsvc.v2.AuthService/GetKeySet",
    "/authsvc.v1.AdminService/GetKeySet",
    "/authsvc.v1.AdminService/../AuthService/GetKeySet",
    "/authsvc.v1.AuthService/GetKeySet%00",
    "/authsvc.v1.AuthService/GetKeySet?x=1",
    "/authsvc.v1.AuthService/",
    "/authsvc.v1.AuthService",
    "/",
]


async def code_of(service: Service, path: str, metadata: Any) -> str:
    """The status of a call of a path as it stands."""
    call: Any = service.channel.unary_unary(path)
    return str((await call(b"", metadata=metadata).code()).name)


async def test_strange_paths(service: Service) -> None:
    """A path that is not exactly a method of the contract is none, whoever calls it.

    Guard: gRPC's own look-up, exact, in what `transport.add_servicers` registers: nothing else is there.
    """
    for path in STRANGE_PATHS:
        for metadata in ((), service.by("root")):
            assert await code_of(service, path, metadata) == "UNIMPLEMENTED", path


# What makes a request no gRPC; where gRPC is lenient and answers all the same, True.
STRANGE_REQUESTS: list[tuple[dict[str, str], bool]] = [
    ({":method": "GET"}, False),
    ({":method": "PUT"}, False),
    ({":method": "CONNECT"}, False),
    ({":path": ""}, False),
    ({":path": METHOD + "\x00"}, False),
    ({"content-type": "application/json"}, True),
    ({"content-type": "text/html"}, True),
    ({"te": "gzip"}, True),
    ({":scheme": "javascript"}, True),
]


async def test_strange_requests(service: Service) -> None:
    """What is HTTP/2 but no gRPC gets no answer of ours, and takes nobody else's connection or call with it."""
    usual = {":method": "POST", ":scheme": "http", ":path": METHOD, ":authority": "authsvc", "te": "trailers"}
    for changed, lenient in STRANGE_REQUESTS:
        attacker = await connect(service.app.port)
        block = attacker.encode({**usual, "content-type": "application/grpc", **changed})
        stream = attacker.stream()
        await attacker.send(frames.HeadersFrame(stream, block, flags=["END_HEADERS"]))
        await attacker.send(frames.DataFrame(stream, EMPTY_MESSAGE, flags=["END_STREAM"]))
        await attacker.settle(0.1)

        assert lenient or attacker.ends.get(stream, {}).get("grpc-status") != "0", changed
        assert await outcome(service.auth.GetKeySet(pb.GetKeySetRequest())) == "OK", changed


def test_only_one_method_is_for_anybody() -> None:
    """A row that asks for no caller at all is a decision: this list is where it is made."""
    public = {name for name, row in POLICY.items() if row.needs is Open.PUBLIC}
    judged = {name.rpartition("/")[2] for name, row in POLICY.items() if row.needs is Open.JUDGED}

    assert public == {"authsvc.v1.AuthService/GetKeySet"}
    assert {"Revoke", "ListSessions"} <= judged
    assert not {name for name in judged if name.startswith(("Create", "Set", "Taint", "Rotate", "List"))} - {
        "ListSessions",
        "ListSecurityEvents",
    }


@pytest.mark.parametrize("path", REFLECTION)
async def test_reflection(service: Service, sqlite_url: str, valkey: EmbeddedValkey, path: str) -> None:
    """What there is to call is told in development alone. Guard: `app/instance.py:App._build_server`."""
    assert await _reflect(service, path) == "UNIMPLEMENTED"
    async with run_service(sqlite_url, valkey.url, anonymous=frozenset({Permission.LOGIN})) as in_development:
        assert await _reflect(in_development, path) == "OK"


async def _reflect(service: Service, path: str) -> str:
    call: Any = service.channel.stream_stream(path)
    request = reflection_pb2.ServerReflectionRequest(list_services="").SerializeToString()
    try:
        await call(iter([request])).read()
    except grpc.aio.AioRpcError as error:
        return error.code().name
    return "OK"


async def test_health_is_for_anybody(service: Service) -> None:
    """A probe needs no key, and learns no more than whether calls are taken."""
    call: Any = service.channel.unary_unary("/grpc.health.v1.Health/Check")

    answer = health_pb2.HealthCheckResponse.FromString(await call(b""))

    assert answer == health_pb2.HealthCheckResponse(status=health_pb2.HealthCheckResponse.SERVING)


class BrokenError(Exception):
    """A defect that quotes a secret."""


def _break(*_args: object, **_named: object) -> Any:
    raise BrokenError(CANARY)


@pytest.mark.parametrize("interceptor", [Authenticate, Observe])
async def test_interceptor_breaks(
    sqlite_url: str,
    valkey: EmbeddedValkey,
    log: io.StringIO,
    interceptor: type,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A defect on the way to a method lets nobody through, and is told to nobody, in whichever interceptor it is.

    Guard: `transport._unary` and `_stream`, `except Exception`; grpc.aio would tell the caller the text.
    """
    monkeypatch.setattr(interceptor, "wrap", lambda self, handler, method: _break)
    async with run_service(sqlite_url, valkey.url) as service:
        for name in methods():
            if POLICY[name].needs is Open.PUBLIC and interceptor is Authenticate:
                continue
            error = await _error(service, name)

            assert error.code() is grpc.StatusCode.INTERNAL, name
            assert "Incident" in str(error.details())
            assert CANARY not in f"{error.details()} {error.trailing_metadata()}"
    assert "BrokenError" in log.getvalue()
    assert CANARY not in log.getvalue()


async def _error(service: Service, name: str) -> grpc.aio.AioRpcError:
    streams = methods()[name].server_streaming
    kind: Any = service.channel.unary_stream if streams else service.channel.unary_unary
    call = kind(f"/{name}")(b"", metadata=service.by("root"))
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await (call.read() if streams else call)
    return refused.value


class FullDisk(io.StringIO):
    """Where nothing more can be written."""

    def write(self, _text: str) -> int:
        raise OSError(28, f"No space left on device: {CANARY}")


@pytest.fixture
async def without_log(sqlite_url: str, valkey: EmbeddedValkey, log: io.StringIO) -> AsyncIterator[Service]:
    """An instance that cannot write its log."""
    async with run_service(sqlite_url, valkey.url) as running:
        logs.configure("debug", to=FullDisk())
        yield running


async def test_log_cannot_be_written(without_log: Service) -> None:
    """A full disk or a closed pipe where the log goes fails no call. Guard: `logs.py:_Unfailing`."""
    login = await without_log.login()

    assert await outcome(without_log.refresh(login.tokens.refresh_token)) == "OK"
    assert await outcome(without_log.validate(login.session_token + "x")) == "SESSION_NOT_ACTIVE"
    assert await outcome(without_log.revoke(token=login.session_token)) == "OK"


async def test_attack_that_ends_in_the_middle(service: Service) -> None:
    """A connection that is torn down in the middle of a frame takes nothing with it."""
    for size in range(1, 40, 7):
        attacker = await connect(service.app.port)
        opened = attacker.opened().serialize()
        attacker.writer.write(opened[:size])
        await attacker.settle(0)

    async def serves() -> bool:
        return await outcome(service.auth.GetKeySet(pb.GetKeySetRequest())) == "OK"

    await until(serves, within_s=5)
