"""Owns following Watch on an event loop. Leaves what its messages mean to `following`; threads have `watcher_thread`.

One task reads the stream and begins it again when it breaks or falls silent; one asks for the key set when a token
named a key that is not held. Nothing here is ever on the path of a request.
"""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Final, Self

import grpc
import grpc.aio

from authsvc.v1 import auth_service_pb2 as pb
from authsvc.v1.auth_service_pb2_grpc import AuthServiceStub
from authsvc_client.strict import KeySetRefused
from authsvc_client.verifying import Revocations, Verifier
from authsvc_client.watching.back_off import BackOff
from authsvc_client.watching.channels import Credential, caller_metadata, open_channel
from authsvc_client.watching.following import KEY_FETCH_MS, SILENCE_MS, Following, OutOfStep

_KEY_TIMEOUT_SECONDS: Final = 5.0
_log = logging.getLogger("authsvc_client")


class Watcher:
    """Keeps verifiers' keys and revocations fresh for as long as the `async with` block runs.

    `server` is a gRPC target ("auth.internal:443", with `tls`) or an open channel, which stays the caller's.
    `credential` is the key of a client with the permission `introspect`.
    """

    def __init__(
        self,
        server: str | grpc.aio.Channel,
        credential: Credential,
        verifier: Verifier,
        *,
        tls: grpc.ChannelCredentials | None = None,
        unsafe_plaintext: bool = False,
        key_fetch_ms: int = KEY_FETCH_MS,
    ) -> None:
        """Does nothing yet. Raises PlaintextRefused."""
        self._open: Callable[[], grpc.aio.Channel] | None = None
        if isinstance(server, str):
            self._open = partial(open_channel, server, tls, unsafe_plaintext=unsafe_plaintext)
            server = self._open()
        self._channel = server
        self._stub = AuthServiceStub(server)
        self._credential = credential
        self._following = Following(verifier)
        self._key_fetch_ms = key_fetch_ms
        self._tasks: list[asyncio.Task[None]] = []
        self._ready = asyncio.Event()
        self._key_wanted = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        verifier.on_unknown_key = self._want_key

    @property
    def revocations(self) -> Revocations:
        """The view that this watcher keeps."""
        return self._following.revocations

    def add(self, verifier: Verifier) -> None:
        """Serve one more verifier of the same issuer; it shares this watcher's view from now on."""
        self._following.add(verifier)
        verifier.on_unknown_key = self._want_key

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._tasks = [asyncio.create_task(self._follow()), asyncio.create_task(self._fetch_keys())]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._open is not None:
            await self._channel.close()

    async def ready(self, timeout_ms: int = 10_000) -> None:
        """Return once keys and a complete view have been heard. Raises TimeoutError."""
        async with asyncio.timeout(timeout_ms / 1000):
            await self._ready.wait()

    async def wait_for_revision(self, revision: int, timeout_ms: int = 5_000) -> None:
        """Return once the view is at least at `revision`. Raises RevisionNotReached."""
        await self.revocations.wait_for_revision(revision, timeout_ms)

    async def _follow(self) -> None:
        back_off = BackOff()
        while True:
            try:
                await self._read_stream(back_off)
                reason = "it ended"
            except TimeoutError:
                reason = "it fell silent"
                await self._reconnect()
            except OutOfStep:
                reason = "something was missed"
            except Exception as error:  # noqa: BLE001  whatever it was, revocations must be heard again
                reason = _name_of(error)
            wait_ms = back_off.next_ms()
            _log.warning("the stream of revocations broke: %s; again in %.0f ms", reason, wait_ms)
            await asyncio.sleep(wait_ms / 1000)

    async def _read_stream(self, back_off: BackOff) -> None:
        call = self._stub.Watch(self._following.begin(), metadata=caller_metadata(self._credential))
        clock = asyncio.get_running_loop().time
        try:
            async with asyncio.timeout(SILENCE_MS / 1000) as silence:
                async for message in call:
                    self._take(message, back_off)
                    silence.reschedule(clock() + SILENCE_MS / 1000)
        finally:
            call.cancel()

    async def _reconnect(self) -> None:
        """Take a new connection: one that fell silent may be dead without either end having noticed."""
        if self._open is not None:
            silent, self._channel = self._channel, self._open()
            self._stub = AuthServiceStub(self._channel)
            await silent.close()

    def _take(self, message: pb.WatchResponse, back_off: BackOff) -> None:
        try:
            if self._following.take(message):
                back_off.succeeded()
                self._ready.set()
        except KeySetRefused as error:
            _log.error("a key set was refused, the last one stays: %s", error)

    def _want_key(self) -> None:
        """Called on any thread, as often as tokens come: it costs one look unless there is something new to say."""
        if not self._key_wanted.is_set() and self._loop is not None:
            with suppress(RuntimeError):  # the loop has closed meanwhile
                self._loop.call_soon_threadsafe(self._key_wanted.set)

    async def _fetch_keys(self) -> None:
        while True:
            await self._key_wanted.wait()
            try:
                await self._fetch_keys_once()
            except asyncio.CancelledError:  # the call alone, if its channel was given up
                if (task := asyncio.current_task()) is None or task.cancelling():
                    raise
            except Exception as error:  # noqa: BLE001  whatever it was, keys must be fetched again when wanted
                _log.warning("the key set could not be fetched: %s", _name_of(error))
            await asyncio.sleep(self._key_fetch_ms / 1000)
            self._key_wanted.clear()

    async def _fetch_keys_once(self) -> None:
        response = await self._stub.GetKeySet(pb.GetKeySetRequest(), timeout=_KEY_TIMEOUT_SECONDS)
        self._following.use_keys(response.keys)


def _name_of(error: Exception) -> str:
    return error.code().name if isinstance(error, grpc.aio.AioRpcError) else type(error).__name__
