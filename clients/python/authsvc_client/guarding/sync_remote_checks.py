"""Owns asking authsvc about tokens from threads, many in one call. Leaves reading the answers to `answers`.

The first thread to bring a question opens a batch and leads it: it waits until `gather_ms` after the last batch left
(alone, not at all), asks for all who joined meanwhile, and hands out the answers. So there is no thread of our own to
start, to stop, or to lose in a fork. The lock is held for a few operations on a dictionary, never while asking.
"""

from collections.abc import Callable, Sequence
from threading import Event, Lock, Semaphore
from typing import Any

import grpc

from authsvc.v1 import auth_service_pb2_grpc
from authsvc_client.clock import Clock, monotonic_clock
from authsvc_client.guarding import answers
from authsvc_client.guarding.principal import Principal
from authsvc_client.guarding.refusals import Refused
from authsvc_client.watching.channels import Credential, caller_metadata, open_channel_sync

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
        self._owned = (
            open_channel_sync(server, tls, unsafe_plaintext=unsafe_plaintext)
            if isinstance(server, str)
            else None
        )
        self._stub: Any = auth_service_pb2_grpc.AuthServiceStub(self._owned or server)  # type: ignore[arg-type]
        self._credential = credential
        self._timeout = timeout_ms / 1000
        self._monotonic = monotonic
        self._recent = answers.RecentAnswers(reuse_ms, monotonic)
        self._batches = SyncBatches(self._ask, batch_limit, gather_ms, timeout_ms, monotonic)
        self._alone = Semaphore(answers.MAX_ALONE)

    def close(self) -> None:
        """Close the channel, if it was opened here."""
        if self._owned is not None:
            self._owned.close()

    def validate(self, token: str, *, min_revision: int = 0, may_reuse: bool = False) -> Principal:
        """Whom a session token speaks for. Raises Refused: not active, or not known just now."""
        answers.check_session_token(token)
        if may_reuse and (recent := self._recent.get(token)) is not None:
            return recent
        asked_at = self._monotonic()
        principal = self._ask_alone(token, min_revision) if min_revision else self._batches.ask(token)
        if principal is None:
            raise Refused("SESSION_NOT_ACTIVE")
        self._recent.keep(token, principal, asked_at)
        return principal

    def confirm(self, token: str, audience: str, *, min_revision: int = 0) -> None:
        """Return if an access token, already verified, is still good. Raises Refused: revoked, or not known."""
        request = answers.introspect_request(token, audience, min_revision)
        if not self._call(self._stub.Introspect, request).active:
            raise Refused("ACCESS_TOKEN_REVOKED")

    def _ask_alone(self, token: str, min_revision: int) -> Principal | None:
        if not self._alone.acquire(blocking=False):
            raise Refused("OVERLOADED")
        try:
            return self._ask([token], min_revision)[0]
        finally:
            self._alone.release()

    def _ask(self, tokens: Sequence[str], min_revision: int) -> list[Principal | None]:
        request = answers.batch_request(tokens, min_revision)
        response = self._call(self._stub.BatchValidateSessions, request)
        return answers.principals(response, len(tokens))

    def _call(self, method: Any, request: Any) -> Any:
        try:
            return method(request, metadata=caller_metadata(self._credential), timeout=self._timeout)
        except grpc.RpcError as error:
            raise answers.not_answered(error) from None


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
        self._last_sent = -gather_ms

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
        wait_ms = self._last_sent + self._gather_ms - self._monotonic()
        if wait_ms > 0:
            batch.is_full.wait(wait_ms / 1000)
        with self._lock:
            if self._open is batch:
                self._open = None
            self._last_sent = self._monotonic()
        try:
            batch.found = self._ask(list(batch.places), 0)
        except Refused as refused:
            batch.reason = refused.reason
        except BaseException:  # Nobody may be left waiting, whatever happened.
            batch.reason = "DEPENDENCY_UNAVAILABLE"
            raise
        finally:
            batch.is_answered.set()


class _Batch:
    """Questions, each at its place, and in the end either their answers or the reason why there are none."""

    __slots__ = ("found", "is_answered", "is_full", "places", "reason")

    def __init__(self) -> None:
        self.places: dict[str, int] = {}
        self.found: list[Principal | None] = []
        self.reason = ""
        self.is_full = Event()
        self.is_answered = Event()
