"""Owns asking authsvc about tokens from threads, many in one call. Leaves reading the answers to `answers`.

The first thread to bring a question opens a batch and leads it: it waits for as long as others keep joining,
`gather_ms` at most (and not at all where callers come one at a time), asks for all of them, and hands out the answers.
So there is no thread of our own to start, to stop, or to lose in a fork. The lock is held for a few operations on a
dictionary, never while asking. A process that was forked off begins with a channel and batches of its own.
"""

import os
from collections.abc import Callable, Sequence
from threading import Event, Lock, Semaphore
from typing import Any

import grpc

from authsvc.v1 import auth_service_pb2_grpc
from authsvc_client.clock import Clock, monotonic_clock
from authsvc_client.guarding import answers
from authsvc_client.guarding.principal import Principal
from authsvc_client.guarding.refusals import Refused
from authsvc_client.watching.channels import (
    Credential,
    PlaintextRefused,
    caller_metadata,
    is_on_this_host,
    open_channel_sync,
)

_Ask = Callable[[Sequence[str], int], list[Principal | None]]


class SyncRemoteChecks:
    """Like `RemoteChecks`, for threads: blocks while it asks."""

    def __init__(
        self,
        server: str | grpc.Channel,
        credential: Credential,
        *,
        tls: grpc.ChannelCredentials | None = None,
        unsafe_plaintext: bool = False,
        batch_limit: int = answers.BATCH_LIMIT,
        gather_ms: int = answers.GATHER_MS,
        timeout_ms: int = answers.TIMEOUT_MS,
        reuse_ms: int = 0,
        monotonic: Clock = monotonic_clock,
    ) -> None:
        """Raises PlaintextRefused; ValueError for a batch of none or of more than 256, for `reuse_ms` above 5 s."""
        if not 1 <= batch_limit <= answers.BATCH_LIMIT:
            raise ValueError(f"a batch holds 1 to {answers.BATCH_LIMIT} tokens")
        if isinstance(server, str) and tls is None and not unsafe_plaintext and not is_on_this_host(server):
            raise PlaintextRefused(server)
        self._server = server
        self._tls = tls
        self._credential = credential
        self._timeout = timeout_ms / 1000
        self._monotonic = monotonic
        self._recent = answers.RecentAnswers(reuse_ms, monotonic)
        self._batching = (batch_limit, gather_ms, timeout_ms, monotonic)
        self._lines: dict[int, _Line] = {}

    def close(self) -> None:
        """Close the channel, if it was opened here."""
        line = self._lines.pop(os.getpid(), None)
        if line is not None and line.channel is not self._server:
            line.channel.close()

    def validate(self, token: str, *, min_revision: int = 0, may_reuse: bool = False) -> Principal:
        """Whom a session token speaks for. Raises Refused: not active, or not known just now."""
        answers.check_session_token(token)
        if may_reuse and (recent := self._recent.get(token)) is not None:
            return recent
        asked_at = self._monotonic()
        principal = self._ask_alone(token, min_revision) if min_revision else self._line().batches.ask(token)
        if principal is None:
            raise Refused("SESSION_NOT_ACTIVE")
        self._recent.keep(token, principal, asked_at)
        return principal

    def confirm(self, token: str, audience: str, *, min_revision: int = 0) -> None:
        """Return if an access token, already verified, is still good. Raises Refused: revoked, or not known."""
        request = answers.introspect_request(token, audience, min_revision)
        if not self._call("Introspect", request).active:
            raise Refused("ACCESS_TOKEN_REVOKED")

    def _ask_alone(self, token: str, min_revision: int) -> Principal | None:
        alone = self._line().alone
        if not alone.acquire(blocking=False):
            raise Refused("OVERLOADED")
        try:
            return self._ask([token], min_revision)[0]
        finally:
            alone.release()

    def _ask(self, tokens: Sequence[str], min_revision: int) -> list[Principal | None]:
        request = answers.batch_request(tokens, min_revision)
        response = self._call("BatchValidateSessions", request)
        return answers.principals(response, len(tokens))

    def _call(self, name: str, request: Any) -> Any:
        method = getattr(self._line().stub, name)
        try:
            return method(request, metadata=caller_metadata(self._credential), timeout=self._timeout)
        except grpc.RpcError as error:
            raise answers.not_answered(error) from None

    def _line(self) -> "_Line":
        """This process's own channel and batches."""
        pid = os.getpid()
        line = self._lines.get(pid)
        if line is None:
            # Two threads may come here at once; one of them finds the other's and drops its own, unused.
            line = self._lines.setdefault(
                pid, _Line(self._channel(), SyncBatches(self._ask, *self._batching))
            )
        return line

    def _channel(self) -> grpc.Channel:
        if not isinstance(self._server, str):
            return self._server
        return open_channel_sync(self._server, self._tls, unsafe_plaintext=True)


class _Line:
    """The way to authsvc of one process."""

    def __init__(self, channel: grpc.Channel, batches: "SyncBatches") -> None:
        self.channel = channel
        self.stub: Any = auth_service_pb2_grpc.AuthServiceStub(channel)
        self.batches = batches
        self.alone = Semaphore(answers.MAX_ALONE)


class SyncBatches:
    """Gathers threads' questions into batches."""

    def __init__(self, ask: _Ask, limit: int, gather_ms: int, timeout_ms: int, monotonic: Clock) -> None:
        self._ask = ask
        self._limit = limit
        self._gather_ms = gather_ms
        self._patience = (gather_ms + 2 * timeout_ms) / 1000
        self._monotonic = monotonic
        self._lock = Lock()
        self._open: _Batch | None = None
        self._last_size = 0
        self._under_way = 0

    def ask(self, token: str) -> Principal | None:
        """Whom the token speaks for; None if it is not active. Raises Refused."""
        with self._lock:
            leads = self._open is None
            batch = self._open = self._open or _Batch()
            place = batch.places.setdefault(token, len(batch.places))
            if len(batch.places) >= self._limit:
                self._open = None
                batch.is_full.set()
        if leads:
            self._lead(batch)
        elif not batch.is_answered.wait(self._patience):
            raise Refused("DEPENDENCY_UNAVAILABLE")
        if batch.reason:
            raise Refused(batch.reason)
        return batch.found[place]

    def _lead(self, batch: "_Batch") -> None:
        if self._under_way or self._last_size > 1:
            self._gather(batch)
        with self._lock:
            if self._open is batch:
                self._open = None
            self._last_size = len(batch.places)
            self._under_way += 1
        try:
            batch.found = self._ask(list(batch.places), 0)
        except Refused as refused:
            batch.reason = refused.reason
        except BaseException:  # Nobody may be left waiting, whatever happened.
            batch.reason = "DEPENDENCY_UNAVAILABLE"
            raise
        finally:
            batch.is_answered.set()
            with self._lock:
                self._under_way -= 1

    def _gather(self, batch: "_Batch") -> None:
        """Wait for as long as others keep joining."""
        until, size = self._monotonic() + self._gather_ms, 0
        while len(batch.places) > size and self._monotonic() < until:
            size = len(batch.places)
            if batch.is_full.wait(answers.QUIET_MS / 1000):
                return


class _Batch:
    """Questions, each at its place, and in the end either their answers or the reason why there are none."""

    __slots__ = ("found", "is_answered", "is_full", "places", "reason")

    def __init__(self) -> None:
        self.places: dict[str, int] = {}
        self.found: list[Principal | None] = []
        self.reason = ""
        self.is_full = Event()
        self.is_answered = Event()
