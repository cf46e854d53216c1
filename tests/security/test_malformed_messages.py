"""Messages that are too large, no messages at all, or not what they say: refused, told to nobody, logged nowhere."""

import asyncio
import functools
import io
import struct
import zlib
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
import psutil
import pytest
from hyperframe import frame as frames

from authsvc.rpc.policy import methods
from authsvc.rpc.transport import MESSAGE_MAX_BYTES
from authsvc.stores.embedded import EmbeddedValkey
from authsvc.v1 import auth_service_pb2 as pb
from tests.parts.service import Service, fields_of, outcome, run_service
from tests.parts.valkey import until
from tests.security.by_hand import connect
from tests.security.served import MEGA

CANARY = "kanarie5d1e0a77"
BYTES = CANARY.encode()
VALIDATE = "/authsvc.v1.AuthService/ValidateSession"
# Who may call what.
CALLERS = {
    "web": {"Login", "Refresh"},
    "gateway": {"ValidateSession", "BatchValidateSessions", "ExchangeSession", "Introspect", "Watch"},
    "root": {name.rpartition("/")[2] for name in methods()},
}
STREAMS = {name for name, method in methods().items() if method.server_streaming}
INVALID_ARGUMENT, RESOURCE_EXHAUSTED, INTERNAL = "3", "8", "13"


@pytest.fixture
async def service(sqlite_url: str, valkey: EmbeddedValkey, log: io.StringIO) -> AsyncIterator[Service]:
    """An instance whose logs are kept."""
    async with run_service(sqlite_url, valkey.url) as running:
        yield running


def field(number: int, wire_type: int, content: bytes = b"") -> bytes:
    """A field as protobuf writes it."""
    return bytes([number << 3 | wire_type]) + content


# None of these can be read as any message of the contract.
MALFORMED: dict[str, bytes] = {
    "noise": b"\xff\xfe\xfd" + BYTES,
    "truncated": field(1, 2, b"\x7f") + BYTES,
    "length of 4 GiB": field(1, 2, b"\xff\xff\xff\xff\x0f") + BYTES,
    "length below zero": field(1, 2, b"\xff" * 9 + b"\x01") + BYTES,
    "number without end": field(1, 0, b"\xff" * 11) + BYTES,
    "field of number zero": b"\x02\x03" + BYTES,
    "wire type that there is not": field(1, 6) + BYTES,
    "group that never ends": field(15, 3) + field(1, 2, bytes([len(BYTES)]) + BYTES),
    "group that never began": field(15, 4) + BYTES,
    "groups a thousand deep": field(15, 3) * 1000 + field(15, 4) * 1000,
    "half a number": field(1, 5, b"\0\0\0"),
}


async def code_of(service: Service, name: str, message: bytes) -> tuple[str, Any]:
    """The status of a message that is sent as it is, by a caller who may, and the error if it is one."""
    metadata = service.by(next(client for client, rpcs in CALLERS.items() if name.rpartition("/")[2] in rpcs))
    kind: Any = service.channel.unary_stream if name in STREAMS else service.channel.unary_unary
    call = kind(f"/{name}")(message, metadata=metadata)
    try:
        await (call.read() if name in STREAMS else call)
    except grpc.aio.AioRpcError as error:
        return error.code().name, error
    return "OK", None


async def test_what_is_no_message(service: Service, log: io.StringIO) -> None:
    """In every RPC it is a bad request; nothing of it is answered or logged.

    Guards: `Receiver`, DecodeError; and that `transport._rpc_handler` gives grpc.aio no deserializer, since it
    would tell the caller the text of its exception.
    """
    for name in methods():
        found = {case: await code_of(service, name, message) for case, message in MALFORMED.items()}

        said = {case: (code, fields_of(error)) for case, (code, error) in found.items()}
        assert said == dict.fromkeys(MALFORMED, ("INVALID_ARGUMENT", ["request"])), name
        assert CANARY not in "".join(
            f"{each.details()} {each.trailing_metadata()}" for _, each in found.values()
        )
    assert "AuthService/Login" in log.getvalue()
    assert CANARY not in log.getvalue()
    assert BYTES.hex() not in log.getvalue()


TEXTS = (b"\xff\xfe", b"\xed\xa0\x80", b"\xc0\xaf", b"\0", field(1, 2, bytes([len(BYTES)])))


def strange(number: int) -> list[bytes]:
    """A field of this number: text that is no UTF-8, holds a NUL, or a message; other types; far too much of it."""
    texts = [field(number, 2, bytes([len(text + BYTES)]) + text + BYTES) for text in TEXTS]
    return [
        *texts,
        field(number, 0, b"\x05"),
        field(number, 0, b"\xff" * 9 + b"\x01"),
        field(number, 1, bytes(8)),
        field(number, 5, bytes(4)),
        field(number, 3) + field(number, 4),
        field(number, 2, b"\0") * 5_000,
    ]


async def test_strange_fields(service: Service, log: io.StringIO) -> None:
    """No field with broken text, of another type, or thousands of times, ends as a defect, in any RPC."""
    sent = [
        (name, message)
        for name, method in methods().items()
        for known in method.input_type.fields
        for message in strange(known.number)
    ]

    found = await asyncio.gather(*(code_of(service, name, message) for name, message in sent))

    codes = {code for code, _ in found}
    assert "INVALID_ARGUMENT" in codes
    assert not codes & {"INTERNAL", "UNKNOWN", "CANCELLED"}
    assert '"incident"' not in log.getvalue()
    assert CANARY not in log.getvalue() + "".join(f"{error}" for _, error in found)


@functools.cache
def zipped(size: int, wbits: int = 31) -> bytes:
    """So many zeros as gzip."""
    packer = zlib.compressobj(9, zlib.DEFLATED, wbits)
    return packer.compress(bytes(size)) + packer.flush()


async def sent(
    service: Service, message: bytes, *, flag: int = 0, encoding: str = "", length: int = -1
) -> str:
    """Send a message by hand, with this flag, encoding and length; return the status."""
    attacker = await connect(service.app.port, {0x4: 2**20})
    more = [("authorization", f"Bearer {service.keys['gateway']}")]
    if encoding:
        more.append(("grpc-encoding", encoding))
    stream = attacker.stream()
    await attacker.send(
        frames.HeadersFrame(stream, attacker.fields(*more, path=VALIDATE), flags=["END_HEADERS"])
    )
    framed = struct.pack(">BI", flag, len(message) if length < 0 else length) + message
    pieces = [framed[at : at + 16_384] for at in range(0, len(framed), 16_384)]
    for number, piece in enumerate(pieces):
        last = ["END_STREAM"] if number == len(pieces) - 1 else []
        await attacker.send(frames.DataFrame(stream, piece, flags=last))

    async def ended() -> bool:
        return "grpc-status" in attacker.ends.get(stream, {})

    await until(ended, within_s=10)
    await attacker.settle(0)
    return attacker.ends[stream]["grpc-status"]


async def good(service: Service) -> bytes:
    """A message that is good."""
    request = pb.ValidateSessionRequest(session_token=(await service.login()).session_token)
    return request.SerializeToString()


async def test_flags_of_compression(service: Service) -> None:
    """Of the flags of a message only 0 and, with gzip, 1 are taken; with any other the message is not read."""
    message = await good(service)
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    packed = packer.compress(message) + packer.flush()

    assert await sent(service, message) == "0"
    assert await sent(service, packed, flag=1, encoding="gzip") == "0"
    assert await sent(service, message, flag=1) == INTERNAL
    assert await sent(service, message, flag=1, encoding="identity") == INTERNAL
    assert await sent(service, message, flag=1, encoding="snappy") == INTERNAL
    assert await sent(service, message, flag=1, encoding="gzip") == INTERNAL
    assert await sent(service, packed[:-9], flag=1, encoding="gzip") == INTERNAL
    assert await sent(service, packed + b"more", flag=1, encoding="gzip") == INTERNAL
    for flag in (2, 3, 128, 255):
        assert await sent(service, message, flag=flag) == INVALID_ARGUMENT


@pytest.mark.parametrize("length", [MESSAGE_MAX_BYTES + 1, 2**31, 2**32 - 1])
async def test_announced_length(service: Service, length: int) -> None:
    """A message that says it is longer than 64 KiB is refused before it comes.

    Guard: `OPTIONS`, `grpc.max_receive_message_length`.
    """
    assert await sent(service, b"", length=length) == RESOURCE_EXHAUSTED


async def test_bombs(service: Service) -> None:
    """A message that unpacks to more than 64 KiB is refused while it is unpacked, not afterwards: memory stays flat.

    Guard: `OPTIONS`, `grpc.max_receive_message_length`, to which gRPC holds unpacked messages, too; without it, its own
    4 MiB hold.
    """
    process = psutil.Process()
    await sent(service, zipped(MEGA), flag=1, encoding="gzip")
    before = process.memory_info().rss

    for _ in range(10):
        assert await sent(service, zipped(50 * MEGA), flag=1, encoding="gzip") == RESOURCE_EXHAUSTED
    assert await sent(service, zipped(50 * MEGA, wbits=15), flag=1, encoding="deflate") == RESOURCE_EXHAUSTED
    assert process.memory_info().rss - before < 40 * MEGA


async def test_large_messages_of_usual_callers(service: Service, log: io.StringIO) -> None:
    """The same holds for a gRPC client; what is too large is not logged either."""
    request = pb.LoginRequest(username="alice", password=CANARY * 5_000)

    for compression in (None, grpc.Compression.Gzip):
        call = service.auth.Login(request, metadata=service.by("web"), compression=compression)
        assert (await call.code()) is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert CANARY not in str(await call.details())
    assert CANARY not in log.getvalue()
    assert await outcome(service.auth.GetKeySet(pb.GetKeySetRequest())) == "OK"
