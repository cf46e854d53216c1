"""Guarded servers of every kind behind one real channel, tokens for them, and an authsvc that only counts.

Each RPC answers with whom it was called for. `KINDS`: coroutines on grpc.aio; a threaded server; plain functions on
grpc.aio.
"""

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from time import time_ns
from typing import Any

import grpc
import grpc.aio

from authsvc.v1 import auth_service_pb2 as pb
from authsvc.v1 import auth_service_pb2_grpc, resources_pb2
from authsvc_client import (
    Policy,
    RemoteChecks,
    Rule,
    SyncRemoteChecks,
    Verifier,
    authenticated,
    current_principal,
    public,
    scopes,
    server_interceptor,
    sync_server_interceptor,
)
from authsvc_client.revision import min_revision
from authsvc_client.verifying import Revocation, Revocations, Subject
from tests.client.strict_minting import ISSUER, KEYS, claims, mint
from tests.parts.service import bearer

KINDS = ("asyncio", "threads", "plain")
ENDING_AT_ONCE = ("asyncio", "threads")
SHAPES = ("Unary", "Stream", "Collect", "Chat")
METHODS = [
    f"tests.Guarded/{name}"
    for name in (*SHAPES, "Open", "Strict", "Scoped", "Unruled", "StrictStream", "Asked")
]
RULES: dict[str, Rule] = {
    "tests.Guarded/Unary": authenticated(),
    "tests.Guarded/Stream": authenticated(),
    "tests.Guarded/Collect": authenticated(),
    "tests.Guarded/Chat": authenticated(),
    "tests.Guarded/Open": public(),
    "tests.Guarded/Asked": authenticated(),
    "tests.Guarded/Strict": authenticated(strict=True),
    "tests.Guarded/StrictStream": authenticated(strict=True),
    "tests.Guarded/Scoped": scopes("orders.read", "orders.write"),
}


class Clock:
    """The time of day, plus what a test adds to it."""

    def __init__(self) -> None:
        self.ahead_ms = 0

    def __call__(self) -> int:
        return time_ns() // 1_000_000 + self.ahead_ms


@dataclass
class Guarded:
    """A guarded server: a channel to it, the verifier it asks, and how its streams began and ended."""

    channel: grpc.aio.Channel
    verifier: Verifier
    clock: Clock
    guard: Any
    begun: list[str] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)

    @property
    def revocations(self) -> Revocations:
        """The view that the guard asks."""
        return self.verifier.revocations

    @property
    def streams(self) -> int:
        """How many streams the guard follows."""
        return len(self.guard._streams)

    def unary(self, name: str, metadata: Iterable[tuple[str, str]] = (), request: bytes = b"") -> Any:
        """Call a unary RPC."""
        method: Any = self.channel.unary_unary(f"/tests.Guarded/{name}")
        return method(request, metadata=tuple(metadata), timeout=10)

    def stream(self, name: str, metadata: Iterable[tuple[str, str]] = ()) -> Any:
        """Open a stream of responses."""
        method: Any = self.channel.unary_stream(f"/tests.Guarded/{name}")
        return method(b"", metadata=tuple(metadata), timeout=30)

    def collect(self, requests: Any, metadata: Iterable[tuple[str, str]] = ()) -> Any:
        """Open a stream of requests."""
        method: Any = self.channel.stream_unary("/tests.Guarded/Collect")
        return method(requests, metadata=tuple(metadata), timeout=30)

    def chat(self, requests: Any, metadata: Iterable[tuple[str, str]] = ()) -> Any:
        """Open a stream both ways."""
        method: Any = self.channel.stream_stream("/tests.Guarded/Chat")
        return method(requests, metadata=tuple(metadata), timeout=30)

    async def user_by(self, shape: str, metadata: Iterable[tuple[str, str]]) -> str:
        """Whom a call of this shape was handled for."""
        if shape == "Unary":
            return str((await self.unary("Unary", metadata)).decode())
        if shape == "Collect":
            return str((await self.collect([b"a", b"b"], metadata)).decode())
        call = self.stream("Stream", metadata) if shape == "Stream" else self.chat([b"a"], metadata)
        answer = await call.read()
        call.cancel()
        return str(answer.decode())

    def revoke(self, session_id: str) -> None:
        """Have the view hear that a session was revoked."""
        self.revocations.apply([Revocation(Subject.SESSION, session_id, self.clock() + 3_600_000)])


def token(user_id: str = "user-1", *, clock: Clock | None = None, life_s: int = 300, **changes: Any) -> str:
    """An access token for a user, whose session is `session-of-<user>`, issued now."""
    now = (clock or Clock())() // 1000
    given = {
        "sub": user_id,
        "sid": f"session-of-{user_id}",
        "iat": now - 1,
        "exp": now + life_s,
        "auth_time": now,
    }
    return mint(claims(**given | changes))


def by(user_id: str = "user-1", **given: Any) -> tuple[tuple[str, str], ...]:
    """Metadata of a call with an access token of this user."""
    return bearer(token(user_id, **given))


def session_token(number: int) -> str:
    """A text that looks like a session token; the fake authsvc knows its user by it."""
    return f"ats_{number:056d}"


def new_verifier(clock: Clock | None = None) -> Verifier:
    """A verifier that knows the key of `token` and whose view has just been heard to be complete."""
    verifier = Verifier(ISSUER, "orders", keys=KEYS, clock=clock or Clock())
    verifier.revocations.reach(1)
    verifier.revocations.heard()
    return verifier


@asynccontextmanager
async def run_guarded(
    kind: str,
    *,
    verifier: Verifier | None = None,
    authsvc: str = "",
    rules: dict[str, Rule] | None = None,
    remote: dict[str, Any] | None = None,
    key: str = "key",
    **options: Any,
) -> AsyncIterator[Guarded]:
    """Run a guarded server. At `authsvc` tokens are checked remotely, with `key`; `remote` are options of that."""
    clock, begun, ended, stopping = Clock(), list[str](), list[str](), threading.Event()
    verifier = verifier or new_verifier(clock)
    checks_class: Any = SyncRemoteChecks if kind == "threads" else RemoteChecks
    checks = checks_class(authsvc, key, **remote or {}) if authsvc else None
    make: Any = sync_server_interceptor if kind == "threads" else server_interceptor
    given = {"services": METHODS, "clock": clock, "remote": checks, **options}
    guard = make(verifier, Policy(RULES if rules is None else rules), **given)
    pool = ThreadPoolExecutor(64)
    server: Any = (grpc if kind == "threads" else grpc.aio).server(pool, interceptors=[guard])
    handlers = _coroutines(begun, ended) if kind == "asyncio" else _functions(begun, ended, stopping)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("tests.Guarded", handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    await _maybe(server.start())
    channel = grpc.aio.insecure_channel(f"127.0.0.1:{port}")
    try:
        yield Guarded(channel, verifier, clock, guard, begun, ended)
    finally:
        stopping.set()
        await channel.close()
        stopped = server.stop(0)
        await (asyncio.to_thread(stopped.wait) if kind == "threads" else stopped)
        await asyncio.to_thread(pool.shutdown)
        if checks is not None:
            await _maybe(checks.close())


async def _maybe(awaitable: Awaitable[Any] | None) -> None:
    if awaitable is not None:
        await awaitable


def _coroutines(begun: list[str], ended: list[str]) -> dict[str, Any]:
    async def who(_request: bytes, _context: Any) -> bytes:
        return current_principal().user_id.encode()

    async def opened(_request: bytes, _context: Any) -> bytes:
        try:
            return current_principal().user_id.encode()
        except LookupError:
            return b"nobody"

    async def stream(_request: bytes, _context: Any) -> AsyncIterator[bytes]:
        begun.append("stream")
        try:
            yield current_principal().user_id.encode()
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise

    async def collect(requests: AsyncIterator[bytes], _context: Any) -> bytes:
        async for _request in requests:
            pass
        return current_principal().user_id.encode()

    async def chat(requests: AsyncIterator[bytes], context: Any) -> None:
        async for _request in requests:
            await context.write(current_principal().user_id.encode())

    async def asked(_request: bytes, _context: Any) -> bytes:
        return b"%d" % min_revision.get()

    return _shapes(who, opened, asked, stream, collect, chat)


def _functions(begun: list[str], ended: list[str], stopping: threading.Event) -> dict[str, Any]:
    def who(_request: bytes, _context: Any) -> bytes:
        return current_principal().user_id.encode()

    def opened(_request: bytes, _context: Any) -> bytes:
        try:
            return current_principal().user_id.encode()
        except LookupError:
            return b"nobody"

    def stream(_request: bytes, context: Any) -> Iterator[bytes]:
        begun.append("stream")
        gone = threading.Event()
        context.add_callback(gone.set)
        yield current_principal().user_id.encode()
        while not (gone.wait(0.01) or stopping.is_set()):
            pass
        ended.append("gone")

    def collect(requests: Iterator[bytes], _context: Any) -> bytes:
        for _request in requests:
            pass
        return current_principal().user_id.encode()

    def chat(requests: Iterator[bytes], _context: Any) -> Iterator[bytes]:
        for _request in requests:
            yield current_principal().user_id.encode()

    def asked(_request: bytes, _context: Any) -> bytes:
        return b"%d" % min_revision.get()

    return _shapes(who, opened, asked, stream, collect, chat)


def _shapes(who: Any, opened: Any, asked: Any, stream: Any, collect: Any, chat: Any) -> dict[str, Any]:
    unary = grpc.unary_unary_rpc_method_handler
    return {
        "Unary": unary(who),
        "Strict": unary(who),
        "Scoped": unary(who),
        "Unruled": unary(who),
        "Open": unary(opened),
        "Asked": unary(asked),
        "Stream": grpc.unary_stream_rpc_method_handler(stream),
        "StrictStream": grpc.unary_stream_rpc_method_handler(stream),
        "Collect": grpc.stream_unary_rpc_method_handler(collect),
        "Chat": grpc.stream_stream_rpc_method_handler(chat),
    }


class Counting(auth_service_pb2_grpc.AuthServiceServicer):
    """An authsvc that counts and knows every session: number 7's user is `user-7`. Times are far away."""

    def __init__(self) -> None:
        self.batches: list[Sequence[str]] = []
        self.introspected: list[pb.IntrospectRequest] = []
        self.ended: set[str] = set()
        self.fails_with: grpc.StatusCode | None = None
        self.details: tuple[tuple[str, bytes], ...] = ()
        self.drops_last = False
        self.audiences = ["orders"]
        self.idle_ms = 3_600_000
        self.before_answer: Callable[[], Awaitable[Any]] | None = None

    async def BatchValidateSessions(self, request: Any, context: Any) -> Any:
        self.batches.append(list(request.session_tokens))
        await self._answer(context)
        results = [self._result(each) for each in request.session_tokens]
        return pb.BatchValidateSessionsResponse(results=results[:-1] if self.drops_last else results)

    async def Introspect(self, request: Any, context: Any) -> Any:
        self.introspected.append(request)
        await self._answer(context)
        return pb.IntrospectResponse(active=request.token not in self.ended)

    async def _answer(self, context: Any) -> None:
        if self.fails_with is not None:
            await context.abort(self.fails_with, "as the test wants it", self.details)
        if self.before_answer is not None:
            await self.before_answer()

    def _result(self, text: str) -> pb.BatchValidateSessionsResponse.Result:
        if text in self.ended:
            return pb.BatchValidateSessionsResponse.Result()
        number, now = int(text[4:]), Clock()()
        session = resources_pb2.Session(
            id=f"session-of-user-{number}",
            user_id=f"user-{number}",
            client_id="web",
            scopes=["orders.read"],
            audiences=self.audiences,
        )
        session.create_time.FromMilliseconds(now - 60_000)
        session.session_idle_expire_time.FromMilliseconds(now + self.idle_ms)
        return pb.BatchValidateSessionsResponse.Result(active=True, session=session)


@asynccontextmanager
async def run_counting() -> AsyncIterator[tuple[Counting, str]]:
    """Run a counting authsvc; yields it and its address."""
    counting, server = Counting(), grpc.aio.server()  # type: ignore[abstract]  # the others answer UNIMPLEMENTED
    auth_service_pb2_grpc.add_AuthServiceServicer_to_server(counting, server)  # type: ignore[no-untyped-call,unused-ignore]
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield counting, f"127.0.0.1:{port}"
    finally:
        await server.stop(0)


async def until(holds: Callable[[], bool]) -> None:
    """Return once it holds. Raises TimeoutError."""
    async with asyncio.timeout(10):
        while not holds():  # noqa: ASYNC110  what it looks at tells nobody
            await asyncio.sleep(0.005)
