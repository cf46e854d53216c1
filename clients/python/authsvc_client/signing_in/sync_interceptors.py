"""Owns attaching a source's bearer to calls made by threads, in all four shapes. Leaves asyncio to `interceptors`."""

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, NamedTuple, cast

import grpc

from authsvc_client.signing_in.attaching import (
    Pairs,
    Privacy,
    brings_own,
    credentials_with,
    dressed,
    was_held_back,
)
from authsvc_client.signing_in.errors import SignInFailed
from authsvc_client.signing_in.plaintext import TargetNotNamed
from authsvc_client.signing_in.reasons import reason_in
from authsvc_client.signing_in.sources import FixedSource
from authsvc_client.signing_in.sync_sources import SyncSource

SyncClientInterceptor = (
    grpc.UnaryUnaryClientInterceptor
    | grpc.UnaryStreamClientInterceptor
    | grpc.StreamUnaryClientInterceptor
    | grpc.StreamStreamClientInterceptor
)


def sync_client_interceptors(
    source: SyncSource | FixedSource, *, target: str | None = None, unsafe_plaintext: bool = False
) -> list[SyncClientInterceptor]:
    """The interceptors that attach `source`'s bearer to every call made over one channel:
    `grpc.intercept_channel(channel, *sync_client_interceptors(source))`.

    What is said of channels, errors and second tries is as for `client_interceptors`. A call made with `.future()`
    waits for its bearer like any other, but is not made again.
    """
    return [_Interceptor(_Desk(source, Privacy(target, unsafe_plaintext)))]


class _Details(NamedTuple):
    method: str
    timeout: float | None
    metadata: Pairs
    credentials: grpc.CallCredentials | None
    wait_for_ready: bool | None
    compression: grpc.Compression | None


class _CallDetails(_Details, grpc.ClientCallDetails):  # type: ignore[misc]
    """What a call is made with."""


class _Desk:
    """Makes calls with a bearer, and hears what becomes of them."""

    def __init__(self, source: SyncSource | FixedSource, privacy: Privacy) -> None:
        self._source = source
        self._privacy = privacy

    def call(
        self, continuation: Any, details: grpc.ClientCallDetails, request: Any, ends_at: float | None
    ) -> tuple[Any, str | None]:
        """Begin the call; return it and the bearer it went with, None if it brought its own.

        It ends at the monotonic time `ends_at`, waiting for the bearer included.
        """
        if brings_own(details.metadata):
            return continuation(_with(details, dressed(details.metadata, None), ends_at), request), None
        bearer = self._source.ready()
        if bearer is None:
            left = _left(ends_at)
            bearer = cast(SyncSource, self._source).obtain(None if left is None else round(left * 1000))
        return self._send(continuation, details, request, bearer, ends_at), bearer

    def is_worth_another(self, call: Any, bearer: str) -> bool:
        """Hear how a call ended: whether it was refused and should be made again. Raises SignInFailed."""
        code = call.code()
        if code is grpc.StatusCode.OK:
            self._privacy.proven()
            return False
        if code is not grpc.StatusCode.UNAUTHENTICATED:
            return False
        if not self._privacy.is_known and was_held_back(call):
            raise TargetNotNamed
        reason = reason_in(call.trailing_metadata())
        return bool(reason) and self._source.refused(bearer, reason)

    def listen(self, call: Any, bearer: str) -> None:
        """Hear the end of a call that is under way: if it is refused, the next one will know."""

        def heard() -> None:
            # It runs in the one thread that serves the channel, which an exception would end.
            with suppress(SignInFailed):
                self.is_worth_another(call, bearer)

        if not call.add_callback(heard):
            heard()

    def _send(
        self,
        continuation: Any,
        details: grpc.ClientCallDetails,
        request: Any,
        bearer: str,
        ends_at: float | None,
    ) -> Any:
        if self._privacy.is_known:
            return continuation(_with(details, dressed(details.metadata, bearer), ends_at), request)
        carrying = credentials_with(bearer, details.credentials)
        return continuation(_with(details, dressed(details.metadata, None), ends_at, carrying), request)


class _Interceptor(
    grpc.UnaryUnaryClientInterceptor,
    grpc.UnaryStreamClientInterceptor,
    grpc.StreamUnaryClientInterceptor,
    grpc.StreamStreamClientInterceptor,
):
    def __init__(self, desk: _Desk) -> None:
        self._desk = desk

    def intercept_unary_unary(
        self, continuation: Any, client_call_details: grpc.ClientCallDetails, request: Any
    ) -> Any:
        """Attach, and once more if it was refused."""
        ends_at = _ends_at(client_call_details)
        call, bearer = self._desk.call(continuation, client_call_details, request, ends_at)
        if bearer is None:
            return call
        if not call.done():  # It was made with `.future()`.
            self._desk.listen(call, bearer)
        elif self._desk.is_worth_another(call, bearer):
            call, _ = self._desk.call(continuation, client_call_details, request, ends_at)
        return call

    def intercept_unary_stream(
        self, continuation: Any, client_call_details: grpc.ClientCallDetails, request: Any
    ) -> Any:
        """Attach, and once more if it was refused at the door: before any message."""
        ends_at = _ends_at(client_call_details)
        call, bearer = self._desk.call(continuation, client_call_details, request, ends_at)
        if bearer is None:
            return call

        def again() -> Any:
            return self._desk.call(continuation, client_call_details, request, ends_at)[0]

        return _Stream(call, lambda: self._desk.is_worth_another(call, bearer), again)

    def intercept_stream_unary(
        self, continuation: Any, client_call_details: grpc.ClientCallDetails, request_iterator: Any
    ) -> Any:
        """Attach. What the caller streams cannot be had twice."""
        ends_at = _ends_at(client_call_details)
        call, bearer = self._desk.call(continuation, client_call_details, request_iterator, ends_at)
        if bearer is not None and call.done():
            self._desk.is_worth_another(call, bearer)
        elif bearer is not None:
            self._desk.listen(call, bearer)
        return call

    def intercept_stream_stream(
        self, continuation: Any, client_call_details: grpc.ClientCallDetails, request_iterator: Any
    ) -> Any:
        """Attach. What the caller streams cannot be had twice."""
        ends_at = _ends_at(client_call_details)
        call, bearer = self._desk.call(continuation, client_call_details, request_iterator, ends_at)
        if bearer is not None:
            self._desk.listen(call, bearer)
        return call


class _Stream:
    """A stream of responses that begins anew if it is refused at the door. In all else the call itself."""

    def __init__(self, call: Any, is_worth_another: Callable[[], bool], again: Callable[[], Any]) -> None:
        self._call = call
        self._is_worth_another = is_worth_another
        self._again = again
        self._has_begun = False

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        has_begun, self._has_begun = self._has_begun, True
        try:
            return next(self._call)
        except grpc.RpcError:
            if has_begun:
                with suppress(SignInFailed):
                    self._is_worth_another()
                raise
            if not self._is_worth_another():
                raise
        self._call = self._again()
        return next(self._call)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._call, name)


def _ends_at(details: grpc.ClientCallDetails) -> float | None:
    return None if details.timeout is None else time.monotonic() + details.timeout


def _left(ends_at: float | None) -> float | None:
    return None if ends_at is None else max(0.0, ends_at - time.monotonic())


def _with(
    details: grpc.ClientCallDetails,
    metadata: Pairs,
    ends_at: float | None,
    credentials: grpc.CallCredentials | None = None,
) -> grpc.ClientCallDetails:
    return _CallDetails(
        details.method,
        _left(ends_at),
        metadata,
        credentials or details.credentials,
        details.wait_for_ready,
        getattr(details, "compression", None),
    )
