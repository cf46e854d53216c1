"""Owns asking authsvc about tokens from asyncio, many in one call. Leaves reading the answers to `answers`.

All that arrive in a tick of the loop share one `BatchValidateSessions`. A caller that comes alone waits for nothing.
Where many come, a batch is held open for as long as more keep coming, `gather_ms` at most: gRPC hands calls to a server
one by one, so without that there would be two or three in a batch. A question that wants a revision is asked alone, so
that it cannot make others wait.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

import grpc
import grpc.aio

from authsvc.v1 import auth_service_pb2_grpc
from authsvc_client.clock import Clock, monotonic_clock
from authsvc_client.guarding import answers
from authsvc_client.guarding.principal import Principal
from authsvc_client.guarding.refusals import Refused
from authsvc_client.watching.channels import Credential, caller_metadata, open_channel

_QUIET_S: Final = answers.QUIET_MS / 1000

_Ask = Callable[[Sequence[str], int], Awaitable[list[Principal | None]]]


class RemoteChecks:
    """Asks authsvc, from one event loop.

    `server` is a gRPC target ("auth.internal:443", with `tls`) or an open channel, which stays the caller's.
    `credential` is the key of a client with the permission `introspect`.
    `reuse_ms` (0: never; at most 5 s) lets an active session be believed again without asking, as long as revocations
    are followed. Without `timeout_ms` an authsvc that hangs would make every caller hang.
    """

    def __init__(
        self,
        server: str | grpc.aio.Channel,
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
            open_channel(server, tls, unsafe_plaintext=unsafe_plaintext) if isinstance(server, str) else None
        )
        self._stub: Any = auth_service_pb2_grpc.AuthServiceStub(self._owned or server)  # type: ignore[arg-type]
        self._credential = credential
        self._timeout = timeout_ms / 1000
        self._monotonic = monotonic
        self._recent = answers.RecentAnswers(reuse_ms, monotonic)
        self._batches = Batches(self._ask, batch_limit, gather_ms)
        self._alone = 0
        self._confirming: dict[tuple[str, int], asyncio.Task[bool]] = {}

    async def close(self) -> None:
        """Close the channel, if it was opened here."""
        if self._owned is not None:
            await self._owned.close()

    async def validate(self, token: str, *, min_revision: int = 0, may_reuse: bool = False) -> Principal:
        """Whom a session token speaks for. Raises Refused: not active, or not known just now."""
        answers.check_session_token(token)
        if may_reuse and (recent := self._recent.get(token)) is not None:
            return recent
        asked_at = self._monotonic()
        if min_revision:
            principal = await self._ask_alone(token, min_revision)
        else:
            principal = await self._batches.ask(token)
        if principal is None:
            raise Refused("SESSION_NOT_ACTIVE")
        self._recent.keep(token, principal, asked_at)
        return principal

    async def confirm(self, token: str, audience: str, *, min_revision: int = 0) -> None:
        """Return if an access token, already verified, is still good. All who ask about one share the question.

        Raises Refused: revoked, or not known just now.
        """
        key = (token, min_revision)
        task = self._confirming.get(key)
        if task is None:
            if len(self._confirming) >= answers.BATCH_LIMIT:
                raise Refused("OVERLOADED")
            task = asyncio.create_task(self._introspect(token, audience, min_revision))
            self._confirming[key] = task
            task.add_done_callback(lambda done: self._confirmed(key, done))
        if not await asyncio.shield(task):
            raise Refused("ACCESS_TOKEN_REVOKED")

    def _confirmed(self, key: tuple[str, int], task: asyncio.Task[bool]) -> None:
        del self._confirming[key]
        if not task.cancelled():
            task.exception()  # Seen here: those who asked may all be gone.

    async def _introspect(self, token: str, audience: str, min_revision: int) -> bool:
        request = answers.introspect_request(token, audience, min_revision)
        response = await self._call(self._stub.Introspect, request)
        return bool(response.active)

    async def _ask_alone(self, token: str, min_revision: int) -> Principal | None:
        if self._alone >= answers.MAX_ALONE:
            raise Refused("OVERLOADED")
        self._alone += 1
        try:
            return (await self._ask([token], min_revision))[0]
        finally:
            self._alone -= 1

    async def _ask(self, tokens: Sequence[str], min_revision: int) -> list[Principal | None]:
        request = answers.batch_request(tokens, min_revision)
        response = await self._call(self._stub.BatchValidateSessions, request)
        return answers.principals(response, len(tokens))

    async def _call(self, method: Any, request: Any) -> Any:
        metadata = caller_metadata(self._credential)
        try:
            return await method(request, metadata=metadata, timeout=self._timeout)
        except grpc.RpcError as error:
            raise answers.not_answered(error) from None


class Batches:
    """Gathers questions into batches. Whoever is cancelled only stops waiting; the batch goes on for the others."""

    def __init__(self, ask: _Ask, limit: int, gather_ms: int) -> None:
        self._ask = ask
        self._limit = limit
        self._gather = gather_ms / 1000
        self._open: dict[str, list[asyncio.Future[Principal | None]]] = {}
        self._due: asyncio.Handle | None = None
        self._last_size = 0
        self._under_way: set[asyncio.Task[None]] = set()

    async def ask(self, token: str) -> Principal | None:
        """Whom the token speaks for; None if it is not active. Raises Refused."""
        if len(self._open) >= self._limit and token not in self._open:
            raise Refused("OVERLOADED")  # Full, and so many under way that it could not be sent.
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Principal | None] = loop.create_future()
        self._open.setdefault(token, []).append(future)
        if len(self._open) >= self._limit:
            self._send()
        elif self._due is None:
            self._schedule(loop)
        return await future

    def _schedule(self, loop: asyncio.AbstractEventLoop) -> None:
        """Send in the next tick if callers come one at a time; else gather for as long as more keep coming."""
        if self._under_way or self._last_size > 1:
            self._due = loop.call_later(_QUIET_S, self._gather_on, loop.time() + self._gather, 0)
        else:
            self._due = loop.call_soon(self._send)

    def _gather_on(self, until: float, size: int) -> None:
        loop = asyncio.get_running_loop()
        if len(self._open) > size and loop.time() < until:
            self._due = loop.call_later(_QUIET_S, self._gather_on, until, len(self._open))
        else:
            self._send()

    def _send(self) -> None:
        if self._due is not None:
            self._due.cancel()
            self._due = None
        if not self._open or len(self._under_way) >= answers.MAX_UNDER_WAY:
            return  # What is open is sent when one of those under way has ended.
        batch, self._open = self._open, {}
        self._last_size = len(batch)
        task = asyncio.create_task(self._run(batch))
        self._under_way.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._under_way.discard(task)
        if self._open and self._due is None:
            self._schedule(asyncio.get_running_loop())

    async def _run(self, batch: dict[str, list[asyncio.Future[Principal | None]]]) -> None:
        try:
            found = await self._ask(list(batch), 0)
        except Refused as refused:
            self._fail(batch, refused.reason)
        except BaseException:  # Nobody may be left waiting, whatever happened.
            self._fail(batch, "DEPENDENCY_UNAVAILABLE")
            raise
        else:
            for waiting, principal in zip(batch.values(), found, strict=True):
                for future in waiting:
                    if not future.done():
                        future.set_result(principal)

    @staticmethod
    def _fail(batch: dict[str, list[asyncio.Future[Principal | None]]], reason: str) -> None:
        for waiting in batch.values():
            for future in waiting:
                if not future.done():
                    future.set_exception(Refused(reason))
