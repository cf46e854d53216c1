"""Owns reaching authsvc: opening channels when they are first needed, and taking the steps of conversations over them.

A channel belongs to the process, and with asyncio also to the event loop, that opened it. In a forked child or another
loop a new one is opened; the old one is left alone. Leaves what is said to `conversations`.
"""

import asyncio
import os
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import grpc
import grpc.aio

from authsvc.v1.auth_service_pb2 import GetKeySetRequest
from authsvc.v1.auth_service_pb2_grpc import AuthServiceStub
from authsvc_client.service_config import channel_options
from authsvc_client.signing_in.plaintext import DIRECT, require_local
from authsvc_client.signing_in.reasons import reason_of
from authsvc_client.signing_in.steps import Call, Pause, Reach, Step, Steps, T

Options = Sequence[tuple[str, Any]]

# Refresh is repeated by `asking`, which counts how often a successor may be asked for.
_CHANNEL: Options = channel_options(repeat_refresh=False)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where authsvc is and how to open a channel to it. Raises PlaintextRefused where that needs telling."""

    target: str
    credentials: grpc.ChannelCredentials | None = field(default=None, repr=False)
    unsafe_plaintext: bool = False
    options: Options = ()

    def __post_init__(self) -> None:
        if self.credentials is None and not self.unsafe_plaintext:
            require_local(self.target)

    def all_options(self) -> list[tuple[str, Any]]:
        """The options of a channel; the caller's own come last and win."""
        direct = DIRECT if self.credentials is None and not self.unsafe_plaintext else ()
        return [*_CHANNEL, *direct, *self.options]


class Connection:
    """Runs conversations on asyncio, over a channel of its own or one that it was given."""

    def __init__(self, where: Endpoint | grpc.aio.Channel, client_key: str) -> None:
        self._endpoint = where if isinstance(where, Endpoint) else None
        self._channel = None if isinstance(where, Endpoint) else where
        self._place: tuple[int, asyncio.AbstractEventLoop] | None = None
        self._client_key = client_key

    async def run(self, steps: Steps[T]) -> T:
        """Take the steps and return what the conversation came to. Raises what it raises."""
        error: grpc.RpcError | None = None
        outcome: Any = None
        try:
            while True:
                try:
                    step = steps.send(outcome) if error is None else steps.throw(error)
                except StopIteration as done:
                    return done.value  # type: ignore[no-any-return]
                try:
                    error, outcome = None, await self._take(step)
                except grpc.RpcError as failed:
                    error = failed
        finally:
            steps.close()

    async def close(self) -> None:
        """Close the channel, if it was opened here. The next conversation opens another."""
        channel, self._channel = (self._channel, None) if self._endpoint else (None, self._channel)
        if channel is not None and self._place == (os.getpid(), asyncio.get_running_loop()):
            await channel.close()

    async def _take(self, step: Step) -> Any:
        match step:
            case Call():
                method = getattr(AuthServiceStub(self._open()), step.method)
                metadata = _authorization(step, self._client_key)
                return await method(step.request, timeout=step.timeout_ms / 1000, metadata=metadata)
            case Reach():
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._open().channel_ready(), step.timeout_ms / 1000)
                    return True
                return False
            case Pause():
                return await asyncio.sleep(step.duration_ms / 1000)

    def _open(self) -> grpc.aio.Channel:
        place = os.getpid(), asyncio.get_running_loop()
        if self._endpoint is not None and (self._channel is None or self._place != place):
            self._channel, self._place = _aio_channel(self._endpoint), place
        assert self._channel is not None  # noqa: S101  given, or just opened
        return self._channel


class SyncConnection:
    """Runs conversations by blocking; any thread may, at any time."""

    def __init__(self, where: Endpoint | grpc.Channel, client_key: str) -> None:
        self._endpoint = where if isinstance(where, Endpoint) else None
        self._channel = None if isinstance(where, Endpoint) else where
        self._process = os.getpid()
        self._lock = threading.Lock()
        self._client_key = client_key

    def run(self, steps: Steps[T]) -> T:
        """Take the steps and return what the conversation came to. Raises what it raises."""
        error: grpc.RpcError | None = None
        outcome: Any = None
        try:
            while True:
                try:
                    step = steps.send(outcome) if error is None else steps.throw(error)
                except StopIteration as done:
                    return done.value  # type: ignore[no-any-return]
                try:
                    error, outcome = None, self._take(step)
                except grpc.RpcError as failed:
                    error = failed
        finally:
            steps.close()

    def close(self) -> None:
        """Close the channel, if it was opened here. The next conversation opens another."""
        if self._endpoint is None:
            return
        channel, self._channel = self._channel, None
        if channel is not None and self._process == os.getpid():
            channel.close()

    def _take(self, step: Step) -> Any:
        match step:
            case Call():
                method = getattr(AuthServiceStub(self._open()), step.method)
                metadata = _authorization(step, self._client_key)
                return method(step.request, timeout=step.timeout_ms / 1000, metadata=metadata)
            case Reach():
                return _is_reached(self._open(), step.timeout_ms)
            case Pause():
                return time.sleep(step.duration_ms / 1000)

    def _open(self) -> grpc.Channel:
        if self._process != os.getpid():
            # Whoever held the lock stayed behind in the parent; so did the threads that serve its channel.
            self._lock, self._process = threading.Lock(), os.getpid()
            self._channel = self._channel if self._endpoint is None else None
        with self._lock:
            if self._channel is None and self._endpoint is not None:
                self._channel = _sync_channel(self._endpoint)
            assert self._channel is not None  # noqa: S101  given, or just opened
            return self._channel


def _authorization(step: Call, client_key: str) -> tuple[tuple[str, str], ...]:
    bearer = client_key if step.bearer is None else step.bearer
    return (("authorization", f"Bearer {bearer}"),) if bearer else ()


def _is_reached(channel: grpc.Channel, timeout_ms: int) -> bool:
    """Whether anybody answers. A call that waits asks: the thread with which grpc watches a channel dies of its end."""
    try:
        AuthServiceStub(channel).GetKeySet(GetKeySetRequest(), timeout=timeout_ms / 1000, wait_for_ready=True)
    except grpc.RpcError as error:
        return bool(reason_of(error))
    return True


def _aio_channel(endpoint: Endpoint) -> grpc.aio.Channel:
    if endpoint.credentials is None:
        return grpc.aio.insecure_channel(endpoint.target, options=endpoint.all_options())
    return grpc.aio.secure_channel(endpoint.target, endpoint.credentials, options=endpoint.all_options())


def _sync_channel(endpoint: Endpoint) -> grpc.Channel:
    if endpoint.credentials is None:
        return grpc.insecure_channel(endpoint.target, options=endpoint.all_options())
    return grpc.secure_channel(endpoint.target, endpoint.credentials, options=endpoint.all_options())
