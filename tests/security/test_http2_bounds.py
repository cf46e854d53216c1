"""The bounds in `authsvc/rpc/transport.py` and `receiving.py`, each made small, then met by a caller without manners.

In this process, so that they can be made small; by hand, since gRPC's own client keeps to what a server announces.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from hpack import Encoder, NeverIndexedHeaderTuple
from hyperframe import frame as frames

from authsvc.core.clock import SECOND
from authsvc.rpc import receiving, transport
from authsvc.stores.embedded import EmbeddedValkey
from authsvc.v1 import auth_service_pb2 as pb
from tests.parts.service import Service, fields_of, outcome, refusal, run_service
from tests.parts.valkey import until
from tests.security.by_hand import EMPTY_MESSAGE, METHOD, PREFACE, Attacker, connect

KILO = 1024
PATIENCE_S = 10.0
SHORT_MS = 200
RPCS = [
    METHOD,
    "/authsvc.v1.AuthService/ValidateSession",
    "/authsvc.v1.AuthService/Watch",
    "/authsvc.v1.AdminService/CreateUser",
    "/grpc.health.v1.Health/Check",
    "/grpc.health.v1.Health/Watch",
    "/grpc.health.v1.Health/List",
]
INVALID_ARGUMENT, RESOURCE_EXHAUSTED = "3", "8"


@asynccontextmanager
async def attacking(service: Service, *, acknowledges: bool = True) -> AsyncIterator[Attacker]:
    """A connection by hand."""
    attacker = await connect(service.app.port, acknowledges=acknowledges)
    try:
        yield attacker
    finally:
        await attacker.settle(0)


async def begin(attacker: Attacker, path: str = METHOD, *, more: bytes = b"") -> int:
    """Begin a call, its headers in as many frames as they need; return its stream."""
    block, stream = attacker.fields(path=path) + more, attacker.stream()
    pieces = [block[at : at + 16 * KILO] for at in range(0, len(block), 16 * KILO)]
    rest = [frames.ContinuationFrame(stream, each) for each in pieces[1:]]
    sent = [frames.HeadersFrame(stream, pieces[0]), *rest]
    sent[-1].flags.add("END_HEADERS")
    await attacker.send(*sent)
    return stream


async def status(attacker: Attacker, stream: int) -> str:
    """What a call ends with, once it has."""

    async def ended() -> bool:
        return "grpc-status" in attacker.ends.get(stream, {})

    await until(ended, PATIENCE_S)
    return attacker.ends[stream]["grpc-status"]


def plain(name: str, size: int) -> bytes:
    """A header of so many bytes as they are, outside the table."""
    value = "a" * (size - len(name) - 32)
    block: bytes = Encoder().encode([NeverIndexedHeaderTuple(name, value)], huffman=False)
    return block


def with_options(monkeypatch: pytest.MonkeyPatch, **changed: int) -> None:
    """Let the next server start with other options of `grpc.…`."""
    options = dict(transport.OPTIONS) | {f"grpc.{name}": value for name, value in changed.items()}
    assert options.keys() == dict(transport.OPTIONS).keys()
    monkeypatch.setattr(transport, "OPTIONS", tuple(options.items()))


@pytest.mark.parametrize(
    ("kilobytes", "ends"),
    [(5, "0"), (9, "0"), (11, "0"), (17, INVALID_ARGUMENT), (64, INVALID_ARGUMENT), (1000, INVALID_ARGUMENT)],
)
async def test_large_metadata(service: Service, kilobytes: int, ends: str) -> None:
    """Metadata above 12 KiB are refused of callers, too, who do not acknowledge that bound.

    gRPC holds only those to it who do: 3 MB of metadata reached the handler. Guard: `receiving.Receiver`, the size.
    """
    async with attacking(service, acknowledges=False) as attacker:
        stream = await begin(attacker, more=entries(kilobytes))
        await attacker.send(frames.DataFrame(stream, EMPTY_MESSAGE, flags=["END_STREAM"]))

        assert await status(attacker, stream) == ends


def entries(kilobytes: int) -> bytes:
    """So much metadata, a kilobyte an entry."""
    return b"".join(plain(f"x-{number}", KILO) for number in range(kilobytes))


@pytest.mark.parametrize(
    ("kilobytes", "code"),
    [(5, "OK"), (9, "OK"), (11, "OK"), (17, "RESOURCE_EXHAUSTED"), (64, "RESOURCE_EXHAUSTED")],
)
async def test_large_metadata_of_usual_callers(service: Service, kilobytes: int, code: str) -> None:
    """To a gRPC client up to 12 KiB pass, every time, and more never do; what is said of it names no value.

    Guard: `OPTIONS`, `grpc.absolute_max_metadata_size`; and `grpc.max_metadata_size`, above which it refuses by lot.
    """
    metadata = tuple((f"x-{number}", "a" * (KILO - 64)) for number in range(kilobytes))
    for _ in range(5):
        call = service.auth.GetKeySet(pb.GetKeySetRequest(), metadata=metadata)

        assert (await call.code()).name == code
        assert "aaa" not in str(await call.details())


async def test_calls_wait_their_turn(service: Service) -> None:
    """2,000 calls that come all at once, while this process is busy with something else, are all answered.

    Guard: `OPTIONS`, `grpc.server.max_pending_requests`. By default gRPC refuses some by lot, whoever makes them.
    """
    attackers = [await connect(service.app.port) for _ in range(10)]
    for attacker in attackers:
        for _ in range(200):
            call = attacker.opened()
            body = frames.DataFrame(call.stream_id, EMPTY_MESSAGE, flags=["END_STREAM"])
            attacker.writer.write(call.serialize() + body.serialize())
    time.sleep(0.5)  # noqa: ASYNC251  gRPC's own threads read on meanwhile

    ends = [await status(attacker, 2 * number + 1) for attacker in attackers for number in range(200)]

    await asyncio.gather(*(attacker.settle(0) for attacker in attackers))
    assert ends == ["0"] * 2_000


@pytest.mark.parametrize("path", RPCS)
async def test_message_that_never_comes(
    path: str, sqlite_url: str, valkey: EmbeddedValkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A call that was begun and left there, or whose message stays half said, is ended after a while.

    Guard: `receiving.Receiver`, the timeout; and for gRPC's own services `health.Health.add_to`.
    """
    monkeypatch.setattr(receiving, "MESSAGE_WAIT_MS", SHORT_MS)
    async with run_service(sqlite_url, valkey.url) as service, attacking(service) as attacker:
        nothing, half = await begin(attacker, path), await begin(attacker, path)
        await attacker.send(frames.DataFrame(half, b"\0\0\0\1\0abc"))

        assert await status(attacker, nothing) == INVALID_ARGUMENT
        assert await status(attacker, half) == INVALID_ARGUMENT


async def test_call_without_message(service: Service) -> None:
    """A call that ends before its message has come is a bad request."""
    async with attacking(service) as attacker:
        stream = await begin(attacker)
        await attacker.send(frames.DataFrame(stream, b"", flags=["END_STREAM"]))

        assert await status(attacker, stream) == INVALID_ARGUMENT


def test_message_is_not_waited_for_long() -> None:
    """The wait as it is in use is a matter of seconds."""
    assert receiving.MESSAGE_WAIT_MS <= 10 * SECOND


@pytest.mark.parametrize(
    "said", [b"", PREFACE[:12], PREFACE], ids=["nothing", "half a preface", "no settings"]
)
async def test_greeting_that_never_ends(
    sqlite_url: str, valkey: EmbeddedValkey, said: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection that does not greet in time is closed. Guard: `OPTIONS`, `grpc.server_handshake_timeout_ms`."""
    assert dict(transport.OPTIONS)["grpc.server_handshake_timeout_ms"] <= 10 * SECOND
    with_options(monkeypatch, server_handshake_timeout_ms=SHORT_MS)
    async with run_service(sqlite_url, valkey.url) as service:
        reader, writer = await asyncio.open_connection("127.0.0.1", service.app.port)
        writer.write(said)

        async with asyncio.timeout(PATIENCE_S):
            while await reader.read(KILO):
                pass
        writer.close()


async def test_connections_are_bounded(
    sqlite_url: str, valkey: EmbeddedValkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So many connections and no more are taken; those there are go on; when some close, others may come.

    Guard: `OPTIONS`, `grpc.max_allowed_incoming_connections`.
    """
    with_options(monkeypatch, max_allowed_incoming_connections=20)
    async with run_service(sqlite_url, valkey.url) as service:
        assert await outcome(_key_set(service)) == "OK"
        attackers = [await connect(service.app.port) for _ in range(30)]

        async def refused() -> bool:
            return sum(not attacker.ended.closed for attacker in attackers) <= 20

        await until(refused, PATIENCE_S)

        assert await outcome(_key_set(service)) == "OK"
        await asyncio.gather(*(attacker.settle(0) for attacker in attackers))
        await until(lambda: _takes_another(service), PATIENCE_S)


def test_connections_leave_files_for_others() -> None:
    """However few files a process may open, half are not for connections. Guard: `transport.connections_max`."""
    assert [transport.connections_max(limit) for limit in (1_024, 20_000, -1)] == [512, 8_192, 8_192]


async def _takes_another(service: Service) -> bool:
    async with attacking(service) as attacker:
        try:
            stream = await begin(attacker)
            await attacker.send(frames.DataFrame(stream, EMPTY_MESSAGE, flags=["END_STREAM"]))
            return await status(attacker, stream) == "0"
        except (ConnectionError, TimeoutError):
            return False


def _key_set(service: Service) -> Any:
    return service.auth.GetKeySet(pb.GetKeySetRequest())


async def test_calls_held_are_bounded(
    sqlite_url: str, valkey: EmbeddedValkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So many calls and no more are held at once; who comes on top is refused, and comes in once they have ended.

    Guard: `app/instance.py:App._build_server`, `maximum_concurrent_rpcs`.
    """
    monkeypatch.setattr(transport, "HELD_AT_ONCE", 50)
    monkeypatch.setattr(receiving, "MESSAGE_WAIT_MS", 1_000)
    async with run_service(sqlite_url, valkey.url) as service, attacking(service) as attacker:
        begun = [await begin(attacker) for _ in range(60)]
        refused = await refusal_code(service)
        ends = [await status(attacker, stream) for stream in begun]

        assert refused == "RESOURCE_EXHAUSTED"
        assert ends.count(RESOURCE_EXHAUSTED) >= 9
        assert ends.count(INVALID_ARGUMENT) >= 49
        assert await outcome(_key_set(service)) == "OK"


async def refusal_code(service: Service) -> str:
    """The status of a call that must not succeed."""
    return (await refusal(_key_set(service))).code().name


async def test_late_message_names_its_field(
    sqlite_url: str, valkey: EmbeddedValkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A late message is told to its caller like any other mistake."""
    monkeypatch.setattr(receiving, "MESSAGE_WAIT_MS", SHORT_MS)
    async with run_service(sqlite_url, valkey.url) as service:
        call: Any = service.channel.stream_unary(METHOD)

        error = await refusal(call(_never()))

    assert fields_of(error) == ["request"]


async def _never() -> AsyncIterator[bytes]:
    await asyncio.sleep(PATIENCE_S)
    yield b""
