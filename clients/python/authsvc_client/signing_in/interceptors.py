"""Owns attaching a source's bearer to calls on asyncio, in all four shapes. Leaves threads to `sync_interceptors`.

Four objects, because grpc.aio registers an interceptor for one shape only and lets the others pass without a word.
"""

import asyncio
from contextlib import suppress
from typing import Any, cast

import grpc
import grpc.aio

from authsvc_client.signing_in.attaching import Pairs, Privacy, brings_own, credentials_with, dressed
from authsvc_client.signing_in.errors import SignInFailed
from authsvc_client.signing_in.plaintext import TargetNotNamed
from authsvc_client.signing_in.reasons import reason_in
from authsvc_client.signing_in.sources import FixedSource, Source

Details = grpc.aio.ClientCallDetails


def client_interceptors(
    source: Source | FixedSource, *, target: str | None = None, unsafe_plaintext: bool = False
) -> list[grpc.aio.ClientInterceptor]:
    """The interceptors for one grpc.aio channel that attach `source`'s bearer to every call made over it.

    Over TLS nothing more has to be said. For a plaintext channel to this machine name its `target`; for one to anywhere
    else say `unsafe_plaintext=True`. Otherwise calls raise TargetNotNamed and nothing is sent.

    Calls raise SessionEnded and the other kinds of SignInFailed when there is no bearer to attach. A call of one
    request that is refused because its access token has expired, or was revoked, is made once more with a new one. A
    call that brings its own `authorization` metadata is left as it is.
    """
    desk = _Desk(source, Privacy(target, unsafe_plaintext))
    return [_UnaryUnary(desk), _UnaryStream(desk), _StreamUnary(desk), _StreamStream(desk)]


class _Desk:
    """Makes calls with a bearer, and hears what becomes of them."""

    def __init__(self, source: Source | FixedSource, privacy: Privacy) -> None:
        self._source = source
        self._privacy = privacy
        self._listening: set[asyncio.Task[None]] = set()

    async def call(
        self, continuation: Any, details: Details, request: Any, ends_at: float | None
    ) -> tuple[Any, str | None]:
        """Begin the call; return it and the bearer it went with, None if it brought its own.

        It ends at the loop's time `ends_at`, waiting for the bearer included.
        """
        if brings_own(details.metadata):
            return await continuation(_with(details, dressed(details.metadata, None)), request), None
        bearer = self._source.ready()
        if bearer is None:
            left = _left(ends_at)
            bearer = await cast(Source, self._source).obtain(None if left is None else round(left * 1000))
        return await self._send(continuation, details, request, bearer, ends_at), bearer

    def is_worth_another(self, bearer: str, reason: str) -> bool:
        """Tell the source that its bearer was refused. Raises SessionEnded."""
        return bool(reason) and self._source.refused(bearer, reason)

    def listen(self, call: Any, bearer: str) -> None:
        """Tell the source later, if the call comes to be refused: the next one will know."""
        task = asyncio.get_running_loop().create_task(self._heard(call, bearer))
        self._listening.add(task)
        task.add_done_callback(self._listening.discard)

    async def _heard(self, call: Any, bearer: str) -> None:
        with suppress(SignInFailed):
            self.is_worth_another(bearer, await _refusal(call))

    async def _send(
        self, continuation: Any, details: Details, request: Any, bearer: str, ends_at: float | None
    ) -> Any:
        if self._privacy.is_known:
            return await continuation(_with(details, dressed(details.metadata, bearer), ends_at), request)
        carrying = credentials_with(bearer, details.credentials)
        sent = _with(details, dressed(details.metadata, None), ends_at, carrying)
        try:
            call = await continuation(sent, request)
        except grpc.aio.UsageError:
            raise TargetNotNamed from None
        self._privacy.proven()  # Over plaintext the call could not even have been begun.
        return call


class _UnaryUnary(grpc.aio.UnaryUnaryClientInterceptor):
    def __init__(self, desk: _Desk) -> None:
        self._desk = desk

    async def intercept_unary_unary(
        self, continuation: Any, client_call_details: Details, request: Any
    ) -> Any:
        """Attach, and once more if it was refused."""
        ends_at = _ends_at(client_call_details)
        call, bearer = await self._desk.call(continuation, client_call_details, request, ends_at)
        if bearer is not None and self._desk.is_worth_another(bearer, await _refusal(call)):
            call, _ = await self._desk.call(continuation, client_call_details, request, ends_at)
        return call


class _UnaryStream(grpc.aio.UnaryStreamClientInterceptor):
    def __init__(self, desk: _Desk) -> None:
        self._desk = desk

    async def intercept_unary_stream(
        self, continuation: Any, client_call_details: Details, request: Any
    ) -> Any:
        """Attach, and once more if it was refused at the door: before any message."""
        ends_at = _ends_at(client_call_details)
        call, bearer = await self._desk.call(continuation, client_call_details, request, ends_at)
        if bearer is None:
            return call
        if await _is_over(call):
            if self._desk.is_worth_another(bearer, await _refusal(call)):
                call, _ = await self._desk.call(continuation, client_call_details, request, ends_at)
        else:
            self._desk.listen(call, bearer)
        return call


class _StreamUnary(grpc.aio.StreamUnaryClientInterceptor):
    def __init__(self, desk: _Desk) -> None:
        self._desk = desk

    async def intercept_stream_unary(
        self, continuation: Any, client_call_details: Details, request_iterator: Any
    ) -> Any:
        """Attach. What the caller streams cannot be had twice."""
        ends_at = _ends_at(client_call_details)
        call, bearer = await self._desk.call(continuation, client_call_details, request_iterator, ends_at)
        if bearer is not None:
            self._desk.listen(call, bearer)
        return call


class _StreamStream(grpc.aio.StreamStreamClientInterceptor):
    def __init__(self, desk: _Desk) -> None:
        self._desk = desk

    async def intercept_stream_stream(
        self, continuation: Any, client_call_details: Details, request_iterator: Any
    ) -> Any:
        """Attach. What the caller streams cannot be had twice."""
        ends_at = _ends_at(client_call_details)
        call, bearer = await self._desk.call(continuation, client_call_details, request_iterator, ends_at)
        if bearer is not None:
            self._desk.listen(call, bearer)
        return call


def _ends_at(details: Details) -> float | None:
    return None if details.timeout is None else asyncio.get_running_loop().time() + details.timeout


def _left(ends_at: float | None) -> float | None:
    return None if ends_at is None else max(0.0, ends_at - asyncio.get_running_loop().time())


def _with(
    details: Details,
    metadata: Pairs,
    ends_at: float | None = None,
    credentials: grpc.CallCredentials | None = None,
) -> Details:
    return Details(
        details.method,
        details.timeout if ends_at is None else _left(ends_at),
        grpc.aio.Metadata(*metadata),
        credentials or details.credentials,
        details.wait_for_ready,
    )


async def _refusal(call: Any) -> str:
    """The reason for which a call is refused as unauthenticated; empty for every other end of it."""
    try:
        if await call.code() is not grpc.StatusCode.UNAUTHENTICATED:
            return ""
        return reason_in(await call.trailing_metadata())
    except asyncio.CancelledError:
        call.cancel()
        raise


async def _is_over(call: Any) -> bool:
    """Whether a stream ended instead of beginning: the headers of a refusal come together with its status."""
    try:
        await call.initial_metadata()
        await asyncio.sleep(0)
        return bool(call.done())
    except asyncio.CancelledError:
        call.cancel()
        raise
