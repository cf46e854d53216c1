"""Owns ending open streams under asyncio, when their token ends or is revoked. Leaves when that is to `judging`.

A stream costs nothing per message: its handler runs as it would without a guard. When it must end, the status is sent
at once, past whatever the handler is doing, and then the handler is cancelled, as it is when a caller goes away.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import grpc
import grpc.aio

from authsvc_client.guarding.judging import Judge, Lifetime, refused_by
from authsvc_client.guarding.principal import Who
from authsvc_client.guarding.refusals import Refused
from authsvc_client.verifying import Revocations

Context = grpc.aio.ServicerContext[Any, Any]
Recheck = Callable[[Lifetime], Awaitable[Who]]
"""Asks authsvc whether a stream may go on; returns whom it speaks for. Raises Refused."""


class OpenStreams:
    """The open streams of one server, by session. For one event loop at a time."""

    def __init__(self, judge: Judge, recheck: Recheck) -> None:
        self._judge = judge
        self._recheck = recheck
        self._loop: asyncio.AbstractEventLoop | None = None
        self._by_session: dict[str, set[_Stream]] = {}
        self._rechecks: set[asyncio.Task[None]] = set()
        self._view: Revocations | None = None

    def __len__(self) -> int:
        """How many are open."""
        return sum(map(len, self._by_session.values()))

    @contextmanager
    def following(self, lifetime: Lifetime, context: Context) -> Iterator[None]:
        """End the call of this context and task when its lifetime is over. Raises Refused if it is over already."""
        self._loop = asyncio.get_running_loop()
        self._subscribe(self._judge.revocations)
        stream = _Stream(lifetime, context)
        self._by_session.setdefault(lifetime.session_id, set()).add(stream)
        try:
            lifetime.check()  # After it can be heard of, so that no revocation falls in between.
            self._nap(stream)
            yield
        finally:
            stream.close()
            self._forget(stream)

    def _subscribe(self, view: Revocations) -> None:
        """Hear of this view. An earlier one that was replaced is told nothing more anyway."""
        if view is not self._view:
            self._view = view
            view.subscribe(self._heard)

    def _forget(self, stream: "_Stream") -> None:
        of_session = self._by_session[stream.lifetime.session_id]
        of_session.discard(stream)
        if not of_session:
            del self._by_session[stream.lifetime.session_id]

    def _heard(self, session_ids: frozenset[str] | None) -> None:
        """Something was revoked; told on the watcher's thread or loop."""
        loop = self._loop
        if loop is not None and not loop.is_closed():
            with suppress(RuntimeError):  # Closed just now.
                loop.call_soon_threadsafe(self._look_at, session_ids)

    def _look_at(self, session_ids: frozenset[str] | None) -> None:
        touched = self._by_session.keys() if session_ids is None else self._by_session.keys() & session_ids
        for stream in [each for session_id in touched for each in self._by_session[session_id]]:
            self._check(stream)

    def _check(self, stream: "_Stream") -> None:
        try:
            stream.lifetime.check()
        except Refused as refused:
            self._end(stream, refused)

    def _nap(self, stream: "_Stream") -> None:
        loop = asyncio.get_running_loop()
        stream.timer = loop.call_later(stream.lifetime.nap_ms() / 1000, self._wake, stream)

    def _wake(self, stream: "_Stream") -> None:
        self._check(stream)
        if stream.closed:
            return
        if not stream.lifetime.needs_remote_check():
            self._nap(stream)
            return
        task = asyncio.create_task(self._ask(stream))
        self._rechecks.add(task)
        task.add_done_callback(self._rechecks.discard)

    async def _ask(self, stream: "_Stream") -> None:
        try:
            stream.lifetime.renew(await self._recheck(stream.lifetime))
        except Exception as error:  # noqa: BLE001  a stream that cannot be judged must not go on
            self._end(stream, refused_by(error) or Refused("INTERNAL"))
        else:
            if not stream.closed:
                self._nap(stream)

    def _end(self, stream: "_Stream", refused: Refused) -> None:
        if not stream.closed:
            stream.end(self._judge.refusals.status(refused))


class _Stream:
    """One open stream: its call's context and task, and the timer of its next look."""

    __slots__ = ("closed", "context", "ending", "lifetime", "task", "timer")

    def __init__(self, lifetime: Lifetime, context: Context) -> None:
        self.lifetime = lifetime
        self.context = context
        self.task = asyncio.current_task()
        self.timer: asyncio.TimerHandle | None = None
        self.ending: asyncio.Task[None] | None = None
        self.closed = False

    def close(self) -> None:
        self.closed = True
        if self.timer is not None:
            self.timer.cancel()

    def end(self, status: Any) -> None:
        """Send the status now, then stop the handler. The order is that of the loop: first in, first run."""
        self.close()
        self.ending = asyncio.create_task(self._send(status))
        if self.task is not None:
            asyncio.get_running_loop().call_soon(self.task.cancel)

    async def _send(self, status: Any) -> None:
        if self.context.done():
            return
        # It raises when it has sent; and gRPC may have ended the call in the same moment.
        with suppress(grpc.aio.AbortError, grpc.aio.UsageError, grpc.aio.InternalError, grpc.RpcError):
            await self.context.abort(status.code, status.message, status.metadata)
