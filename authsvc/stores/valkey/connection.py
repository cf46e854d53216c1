"""Owns one live connection: commands out, replies in, in order. Leaves dialling and reconnecting to `dial`, `link`.

Every caller shares it. Commands of one turn of the event loop, or of a few (see `pacing`), leave in one write; replies
are handed out first in, first out. A caller who was cancelled keeps its place in the queue, so nobody ever gets
somebody else's reply.

This is the hot path of `ValidateSession`: per command it costs one future, one append, one parsed reply. There is no
lock, no pool, no task and no timer per command; one timer watches the oldest write.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, cast

import hiredis

from authsvc.core.contracts import StoreUnavailable
from authsvc.stores.valkey.pacing import Pace

_NOTHING_YET = object()

# How soon lateness is looked at again while replies are still coming in.
_LOOK_AGAIN_S = 0.01

# After these replies the server is not the one to talk to, or lacks our scripts: only a fresh connection helps.
_UNFIT = frozenset({"NOSCRIPT", "READONLY", "LOADING", "MASTERDOWN", "NOAUTH"})


def pack(*command: str | bytes | int) -> bytes:
    """Return the command as it goes over the wire."""
    packed: bytes = hiredis.pack_command(command)  # type: ignore[arg-type]  # its stub allows one word only
    return packed


Read = Callable[[Any], Any]


class Connection(asyncio.Protocol):
    """One connection to one server process.

    `run_id` names that process, from the handshake on. `closed` is done once the connection is gone, with the reason.
    """

    def __init__(
        self, timeout_s: float, max_pending: int, on_error: Callable[[str], None] | None = None
    ) -> None:
        """Fail everything if a reply takes longer than `timeout_s`. `on_error` hears the code of each error reply."""
        self._loop = asyncio.get_running_loop()
        self._timeout_s = timeout_s
        self._max_pending = max_pending
        self._on_error = on_error
        self._reader = hiredis.Reader(notEnoughData=_NOTHING_YET)
        self._transport: asyncio.WriteTransport | None = None
        self._pending: deque[tuple[asyncio.Future[Any], Read | None]] = deque()
        self._outbox: list[bytes] = []
        self._pace = Pace()
        self._sent = 0
        self._received = 0
        self._heard = False  # anything, since lateness was last looked at
        self._writes: deque[tuple[float, int]] = (
            deque()
        )  # (when its replies are late, commands sent up to it)
        self._watch: asyncio.TimerHandle | None = None
        self.run_id = ""
        self.closed: asyncio.Future[str] = self._loop.create_future()

    def send(self, frame: bytes, read: Read | None = None) -> "asyncio.Future[Any]":
        """Queue one packed command, and return the future of its reply, or of what `read` makes of it.

        The future raises StoreUnavailable if the server answers with an error, late, or not at all. So does this call
        if the connection is gone or too much is under way. Without a wait in between, commands go out in this order.
        """
        if self._transport is None or len(self._pending) >= self._max_pending:
            raise StoreUnavailable("no connection to the cache, or too much under way")
        reply: asyncio.Future[Any] = asyncio.Future(loop=self._loop)
        if not self._outbox:
            self._flush_soon()
        self._outbox.append(frame)
        self._pending.append((reply, read))
        return reply

    def call(self, *command: str | bytes | int) -> "asyncio.Future[Any]":
        """Pack and send one command."""
        return self.send(pack(*command))

    def drop(self, reason: str) -> None:
        """Close at once. Everything under way fails."""
        if self._transport is not None:
            self._transport.abort()
        self._end(reason)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.WriteTransport", transport)

    def connection_lost(self, error: Exception | None) -> None:
        self._end(f"connection lost: {error or 'closed by the server'}")

    def data_received(self, data: bytes) -> None:
        reader, pending = self._reader, self._pending
        self._heard = True
        reader.feed(data)
        try:
            while (reply := reader.gets()) is not _NOTHING_YET:
                future, read = pending.popleft()
                self._received += 1
                if type(reply) is hiredis.ReplyError:
                    self._refused(future, str(reply))
                elif not future.done():  # else its caller was cancelled; the reply is nobody's
                    _resolve(future, reply, read)
        except (hiredis.ProtocolError, IndexError):
            self.drop("the server does not speak the protocol")

    def _refused(self, future: "asyncio.Future[Any]", text: str) -> None:
        """One command failed. Only the error's code goes further: the text may hold keys."""
        code = text.partition(" ")[0]
        if not future.done():
            future.set_exception(StoreUnavailable(f"the cache answered {code}"))
        if self._on_error is not None:
            self._on_error(code)
        if code in _UNFIT:
            self.drop(f"the cache answered {code}")

    def _flush_soon(self) -> None:
        if self._loop.time() < self._pace.next_write_at:
            self._loop.call_at(self._pace.next_write_at, self._flush)
        else:
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        if self._transport is None:
            return
        now = self._loop.time()
        self._sent += len(self._outbox)
        self._pace.written(len(self._outbox), now)
        self._transport.write(b"".join(self._outbox))
        self._outbox.clear()
        late_at = now + self._timeout_s
        self._writes.append((late_at, self._sent))
        if self._watch is None:
            self._watch = self._loop.call_at(late_at, self._check_late)

    def _check_late(self) -> None:
        """Drop the connection if the oldest unanswered write is late and nothing is coming in any more.

        After a pause of our own process everything looks late, though the replies lie ready: the loop reads some of
        them before it runs timers, and as long as it does, the server is not the one to blame.
        """
        self._watch = None
        coming_in, self._heard = self._heard, False
        while self._writes and self._writes[0][1] <= self._received:
            self._writes.popleft()
        if not self._writes:
            return
        now, late_at = self._loop.time(), self._writes[0][0]
        if late_at <= now and not coming_in:
            self.drop("no reply in time")
        else:
            self._watch = self._loop.call_at(max(late_at, now + _LOOK_AGAIN_S), self._check_late)

    def _end(self, reason: str) -> None:
        if self.closed.done():
            return
        self._transport = None
        self.closed.set_result(reason)
        if self._watch is not None:
            self._watch.cancel()
        self._outbox.clear()
        while self._pending:
            future, _ = self._pending.popleft()
            if not future.done():
                future.set_exception(StoreUnavailable("the connection to the cache was lost"))


def _resolve(future: "asyncio.Future[Any]", reply: Any, read: Read | None) -> None:
    """Hand a reply out. One that cannot be read is its caller's trouble alone: those behind it still get theirs."""
    try:
        future.set_result(reply if read is None else read(reply))
    except Exception as error:  # noqa: BLE001
        future.set_exception(error)
