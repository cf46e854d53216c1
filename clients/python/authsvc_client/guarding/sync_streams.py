"""Owns ending open streams of threads, when their token ends or is revoked. Leaves when that is to `judging`.

No thread can be interrupted, so the handler of a stream runs in a thread beside the call's own: the call's thread waits
for the next message or for the end, whichever comes first. At the end the caller gets the status at once; the handler
finds its call no longer active, as it does when a caller goes away, and is closed at its next message.
"""

from collections.abc import Callable, Iterator
from contextvars import copy_context
from threading import Condition, Lock, Thread
from typing import Any, NoReturn

from authsvc_client.guarding.judging import Judge, Lifetime, refused_by
from authsvc_client.guarding.principal import Who
from authsvc_client.guarding.refusals import Refused
from authsvc_client.verifying import Revocations

Recheck = Callable[[Lifetime], Who]
"""Asks authsvc whether a stream may go on; returns whom it speaks for. Raises Refused."""


class SyncOpenStreams:
    """The open streams of one server, by session."""

    def __init__(self, judge: Judge, recheck: Recheck) -> None:
        self._judge = judge
        self._recheck = recheck
        self._lock = Lock()
        self._by_session: dict[str, set[_Relay]] = {}
        self._view: Revocations | None = None

    def __len__(self) -> int:
        """How many are open."""
        with self._lock:
            return sum(map(len, self._by_session.values()))

    def follow(self, lifetime: Lifetime, work: Callable[[], Iterator[Any]], context: Any) -> Iterator[Any]:
        """What `work` yields, until it ends or its lifetime is over: then the call is aborted."""
        relay = _Relay(lifetime)
        with self._lock:
            self._subscribe(self._judge.revocations)
            self._by_session.setdefault(lifetime.session_id, set()).add(relay)
        try:
            self._check(lifetime)
            if context.add_callback(relay.close):
                relay.start(work)
                yield from relay.messages(lambda: self._check(lifetime))
        except Refused as refused:
            abort(context, self._judge, refused)
        finally:
            relay.close()
            self._forget(relay)

    def _subscribe(self, view: Revocations) -> None:
        """Hear of this view. An earlier one that was replaced is told nothing more anyway."""
        if view is not self._view:
            self._view = view
            view.subscribe(self._heard)

    def _check(self, lifetime: Lifetime) -> None:
        lifetime.check()
        if lifetime.needs_remote_check():
            try:
                lifetime.renew(self._recheck(lifetime))
            except Exception as error:  # noqa: BLE001  a stream that cannot be judged must not go on
                raise refused_by(error) or Refused("INTERNAL") from None

    def _forget(self, relay: "_Relay") -> None:
        with self._lock:
            of_session = self._by_session[relay.lifetime.session_id]
            of_session.discard(relay)
            if not of_session:
                del self._by_session[relay.lifetime.session_id]

    def _heard(self, session_ids: frozenset[str] | None) -> None:
        """Something was revoked; told on the watcher's thread. Those it may concern wake up and look."""
        with self._lock:
            touched = (
                self._by_session.keys() if session_ids is None else self._by_session.keys() & session_ids
            )
            relays = [each for session_id in touched for each in self._by_session[session_id]]
        for relay in relays:
            relay.wake()


class _Relay:
    """Hands messages from a handler's thread to its call's thread, one at a time."""

    def __init__(self, lifetime: Lifetime) -> None:
        self.lifetime = lifetime
        self._changed = Condition()
        self._messages: list[Any] = []
        self._error: Exception | None = None
        self._looks = False
        self._finished = False
        self._closed = False

    def start(self, work: Callable[[], Iterator[Any]]) -> None:
        """Run the handler in a thread of its own, in the context of now."""
        here = copy_context()
        Thread(target=here.run, args=(self._work, work), name="authsvc-stream", daemon=True).start()

    def messages(self, check: Callable[[], None]) -> Iterator[Any]:
        """The handler's messages. `check` is called now and then, and at once when woken; what it raises ends them."""
        while True:
            with self._changed:
                if not (self._messages or self._finished or self._closed or self._looks):
                    self._changed.wait(self.lifetime.nap_ms() / 1000)
                self._looks = False
            check()
            with self._changed:
                if self._closed:
                    return
                message = self._messages.pop() if self._messages else self
                self._changed.notify_all()
                if message is self and self._finished:
                    if self._error is not None:
                        raise self._error
                    return
            if message is not self:
                yield message

    def wake(self) -> None:
        """Have the call's thread look at its lifetime now."""
        with self._changed:
            self._looks = True
            self._changed.notify_all()

    def close(self) -> None:
        """No more messages are wanted."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _work(self, work: Callable[[], Iterator[Any]]) -> None:
        try:
            iterator = work()
            for message in iterator:
                if not self._put(message):
                    _close(iterator)
                    break
        except Exception as error:  # noqa: BLE001  it is raised again in the call's thread
            self._error = error
        finally:
            with self._changed:
                self._finished = True
                self._changed.notify_all()

    def _put(self, message: Any) -> bool:
        """Offer a message and wait until it is taken. False: no more are wanted."""
        with self._changed:
            self._messages.append(message)
            self._changed.notify_all()
            while self._messages and not self._closed:
                self._changed.wait()
            return not self._closed


def abort(context: Any, judge: Judge, refused: Refused) -> NoReturn:
    """End the call with a refusal's status. Raises: that is how gRPC does it."""
    status = judge.refusals.status(refused)
    context.set_trailing_metadata(status.metadata)
    context.abort(status.code, status.message)
    raise refused


def _close(iterator: Any) -> None:
    """Let a generator clean up; other iterators have nothing to close."""
    close = getattr(iterator, "close", None)
    if close is not None:
        close()
