"""HTTP/2 as an attacker writes it: frame by frame, with the frame and header layers of the h2 library.

h2 itself refuses to send most of what attacks need; hyperframe and hpack do not. Leaves what is sent to
`http2_attacks` and the tests.
"""

import asyncio
from collections import Counter
from dataclasses import dataclass, field

from hpack import Decoder, Encoder
from hyperframe import frame as frames
from hyperframe.frame import Frame

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
METHOD = "/authsvc.v1.AuthService/GetKeySet"
EMPTY_MESSAGE = bytes(5)
SETTLE_S = 0.5


@dataclass
class Ended:
    """How an attack ended: frames sent, whether the server closed it, why, and what it answered, by kind of frame."""

    sent: int = 0
    closed: bool = False
    goaway: str = ""
    answered: dict[str, int] = field(default_factory=dict)
    resets: dict[str, int] = field(default_factory=dict)


class Attacker:
    """One connection that says what it likes, and keeps count of what the server says."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, acknowledges: bool
    ) -> None:
        self.ended = Ended()
        self._acknowledges = acknowledges
        self._reader, self.writer = reader, writer
        self.ends: dict[int, dict[str, str]] = {}
        """By stream, the last headers that came: what the call ended with, once it has."""
        self._encoder, self._decoder = Encoder(), Decoder()
        self._stream = -1
        self._answered: Counter[str] = Counter()
        self._resets: Counter[str] = Counter()
        self._listening = asyncio.create_task(self._listen())

    async def send(self, *sent: Frame, as_bytes: bytes = b"", count: int = 0) -> None:
        """Send frames, or so many of them as bytes. Raises ConnectionError once the server has closed."""
        if self.ended.closed:
            raise ConnectionError
        self.writer.write(as_bytes or b"".join(each.serialize() for each in sent))
        await self.writer.drain()
        self.ended.sent += count or len(sent)

    def stream(self) -> int:
        """The next stream id of a client."""
        self._stream += 2
        return self._stream

    def fields(self, *more: tuple[str, str], path: str = METHOD) -> bytes:
        """The header block of a call."""
        usual = [(":method", "POST"), (":scheme", "http"), (":path", path), (":authority", "authsvc")]
        block: bytes = self._encoder.encode(
            [*usual, ("te", "trailers"), ("content-type", "application/grpc"), *more]
        )
        return block

    def encode(self, fields: dict[str, str]) -> bytes:
        """A header block of just these fields."""
        block: bytes = self._encoder.encode(list(fields.items()))
        return block

    def opened(self) -> frames.HeadersFrame:
        """The beginning of a call, which it never goes on with."""
        return frames.HeadersFrame(self.stream(), self.fields(), flags=["END_HEADERS"])

    async def settle(self, seconds: float = SETTLE_S) -> Ended:
        """Wait for what the server has still to say; return the end."""
        await asyncio.wait([self._listening], timeout=seconds)
        self.ended.answered, self.ended.resets = dict(self._answered), dict(self._resets)
        self._listening.cancel()
        self.writer.transport.abort()
        return self.ended

    async def _listen(self) -> None:
        unread = b""
        try:
            while data := await self._reader.read(65536):
                unread = self._take(unread + data)
        except ConnectionError:
            pass
        self.ended.closed = True

    def _take(self, data: bytes) -> bytes:
        """Take whole frames from the data; return the rest."""
        at = 0
        while len(data) - at >= 9:
            head, length = Frame.parse_frame_header(memoryview(data[at : at + 9]))
            if len(data) - at - 9 < length:
                break
            head.parse_body(memoryview(data[at + 9 : at + 9 + length]))
            at += 9 + length
            self._heard(head)
        return data[at:]

    def _heard(self, heard: Frame) -> None:
        self._answered[type(heard).__name__.removesuffix("Frame")] += 1
        if isinstance(heard, frames.HeadersFrame):
            self.ends[heard.stream_id] = dict(self._decoder.decode(heard.data))  # type: ignore[arg-type]
        if isinstance(heard, frames.RstStreamFrame):
            self._resets[str(heard.error_code)] += 1
        if isinstance(heard, frames.GoAwayFrame):
            self.ended.goaway = f"{heard.error_code} {heard.additional_data.decode()}"
        if self._acknowledges and isinstance(heard, frames.SettingsFrame) and "ACK" not in heard.flags:
            self.writer.write(frames.SettingsFrame(0, flags=["ACK"]).serialize())


async def connect(
    port: int, settings: dict[int, int] | None = None, *, acknowledges: bool = True
) -> Attacker:
    """Connect as a client that means well, with room for many answers.

    One that never `acknowledges` the server's settings is not held to them by gRPC.
    """
    attacker = Attacker(*await asyncio.open_connection("127.0.0.1", port), acknowledges=acknowledges)
    greeting = frames.SettingsFrame(0, settings=settings or {}).serialize()
    room = frames.WindowUpdateFrame(0, window_increment=2**24).serialize()
    await attacker.send(as_bytes=PREFACE + greeting + room)
    return attacker
