"""Owns following Watch on threads of its own, for programs without an event loop, or with several. Leaves what the
messages mean to `following`; one event loop has `watcher`.

One thread reads the stream; one attends to it: it cuts a stream that fell silent and asks for the key set when a token
named a key that is not held. Both are daemons. When the process forks, they end before and begin again after it, in the
parent and in the child; gRPC itself survives a fork only with GRPC_ENABLE_FORK_SUPPORT=1 in the environment.
"""

import logging
import os
from collections.abc import Callable
from threading import Event, Thread
from typing import Final, Self

import grpc

from authsvc.v1 import auth_service_pb2 as pb
from authsvc.v1.auth_service_pb2_grpc import AuthServiceStub
from authsvc_client.clock import monotonic_clock
from authsvc_client.forking import tell_of_forks
from authsvc_client.strict import KeySetRefused
from authsvc_client.verifying import Revocations, Verifier
from authsvc_client.watching.back_off import BackOff
from authsvc_client.watching.channels import Credential, caller_metadata, open_channel_sync
from authsvc_client.watching.following import KEY_FETCH_MS, SILENCE_MS, Following, OutOfStep

_ATTEND_SECONDS: Final = 0.25
_KEY_TIMEOUT_SECONDS: Final = 2.0
_STOP_SECONDS: Final = 5.0
_YES: Final = frozenset({"1", "t", "true", "y", "yes"})
_log = logging.getLogger("authsvc_client")


class WatcherThread:
    """Keeps verifiers' keys and revocations fresh from `start` to `stop`, or for as long as the `with` block runs.

    `target` is a gRPC target, `credential` the key of a client with the permission `introspect`.
    """

    def __init__(
        self,
        target: str,
        credential: Credential,
        verifier: Verifier,
        *,
        tls: grpc.ChannelCredentials | None = None,
        unsafe_plaintext: bool = False,
        key_fetch_ms: int = KEY_FETCH_MS,
    ) -> None:
        """Does nothing yet."""
        self.target = target
        self._credential = credential
        self._tls = tls
        self._unsafe_plaintext = unsafe_plaintext
        self._key_fetch_ms = key_fetch_ms
        self._following = Following(verifier)
        self._run: _Run | None = None
        self._forked_by: int | None = None
        self._told_of_forks = False
        verifier.on_unknown_key = self._want_key

    @property
    def revocations(self) -> Revocations:
        """The view that this watcher keeps."""
        return self._following.revocations

    def add(self, verifier: Verifier) -> None:
        """Serve one more verifier of the same issuer; it shares this watcher's view from now on."""
        self._following.add(verifier)
        verifier.on_unknown_key = self._want_key

    def start(self) -> None:
        """Begin, unless begun. Raises PlaintextRefused."""
        if self._run is None:
            self._run = _Run(self._following, self._open, self._credential, self._key_fetch_ms)
            if not self._told_of_forks:
                self._told_of_forks = True
                tell_of_forks(self)

    def stop(self) -> None:
        """End. It may be started again, and then resumes where it stood."""
        run, self._run = self._run, None
        if run is not None:
            run.stop()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def ready(self, timeout_ms: int = 10_000) -> None:
        """Return once keys and a complete view have been heard. Raises TimeoutError."""
        run = self._run
        if run is None or not run.ready.wait(timeout_ms / 1000):
            raise TimeoutError("no complete view of revocations yet")

    def wait_for_revision(self, revision: int, timeout_ms: int = 5_000) -> None:
        """Return once the view is at least at `revision`. Raises RevisionNotReached."""
        self.revocations.wait_for_revision_sync(revision, timeout_ms)

    def before_fork(self) -> None:
        """Rest: gRPC must have nothing open while its process forks."""
        self._forked_by = os.getpid() if self._run is not None else None
        self.stop()

    def after_fork(self) -> None:
        """Go on where it stood, in the parent and in the child, each on a stream of its own.

        Where gRPC does not survive a fork the child stays without: its view only gets older, and that shows.
        """
        parent, self._forked_by = self._forked_by, None
        if parent is None:
            return
        if parent == os.getpid() or _survives_forks():
            self.start()
        else:
            _log.warning(
                "revocations are not followed in this child: set GRPC_ENABLE_FORK_SUPPORT=1 at start"
            )

    def _open(self) -> grpc.Channel:
        return open_channel_sync(self.target, self._tls, unsafe_plaintext=self._unsafe_plaintext)

    def _want_key(self) -> None:
        if self._run is not None:
            self._run.key_wanted = True


class _Run:
    """The two threads and their channel, from start to stop."""

    def __init__(
        self,
        following: Following,
        open_channel: Callable[[], grpc.Channel],
        credential: Credential,
        key_fetch_ms: int,
    ) -> None:
        self.ready = Event()
        self.key_wanted = False
        self._following = following
        self._open = open_channel
        self._connect()
        self._credential = credential
        self._key_fetch_ms = key_fetch_ms
        self._keys_fetched_at: int | None = None
        self._back_off = BackOff()
        self._stopping = Event()
        self._heard_at = monotonic_clock()
        self._silent = False
        self._cut: Callable[[], object] = self.ready.is_set  # nothing to cut yet
        self._threads = [
            Thread(target=self._follow, name="authsvc-watcher", daemon=True),
            Thread(target=self._attend, name="authsvc-watcher-attendant", daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._channel.close()
        for thread in self._threads:
            thread.join(_STOP_SECONDS)
        self._channel.close()  # the one that may have been opened meanwhile

    def _connect(self) -> None:
        self._channel = self._open()
        self._stub = AuthServiceStub(self._channel)

    def _follow(self) -> None:
        while not self._stopping.is_set():
            reason = self._read_stream()
            if self._stopping.is_set():
                return
            if self._silent:  # its connection may be dead without either end having noticed
                self._channel.close()
                self._connect()
                reason = "it fell silent"
            wait_ms = self._back_off.next_ms()
            _log.warning("the stream of revocations broke: %s; again in %.0f ms", reason, wait_ms)
            self._stopping.wait(wait_ms / 1000)

    def _read_stream(self) -> str:
        """Follow until it ends; return why."""
        try:
            call = self._stub.Watch(self._following.begin(), metadata=caller_metadata(self._credential))
            self._silent, self._heard_at, self._cut = False, monotonic_clock(), call.cancel
            try:
                for message in call:
                    self._heard_at = monotonic_clock()
                    self._take(message)
            finally:
                call.cancel()
            return "it ended"
        except OutOfStep:
            return "something was missed"
        except grpc.RpcError as error:
            return str(error.code().name)
        except Exception as error:  # noqa: BLE001  whatever it was, revocations must be heard again
            return type(error).__name__

    def _take(self, message: pb.WatchResponse) -> None:
        try:
            if self._following.take(message):
                self._back_off.succeeded()
                self.ready.set()
        except KeySetRefused as error:
            _log.error("a key set was refused, the last one stays: %s", error)

    def _attend(self) -> None:
        while not self._stopping.wait(_ATTEND_SECONDS):
            now = monotonic_clock()
            if now - self._heard_at > SILENCE_MS:
                self._silent = True
                self._cut()
            if self.key_wanted and now - (self._keys_fetched_at or -self._key_fetch_ms) >= self._key_fetch_ms:
                self._keys_fetched_at, self.key_wanted = now, False
                self._fetch_keys()

    def _fetch_keys(self) -> None:
        try:
            response = self._stub.GetKeySet(pb.GetKeySetRequest(), timeout=_KEY_TIMEOUT_SECONDS)
            self._following.use_keys(response.keys)
        except grpc.RpcError as error:
            _log.warning("the key set could not be fetched: %s", error.code().name)
        except KeySetRefused as error:
            _log.error("a key set was refused, the last one stays: %s", error)


def _survives_forks() -> bool:
    """Whether gRPC was told, when it was loaded, to expect forks. Else it hangs in a child that uses it."""
    return os.environ.get("GRPC_ENABLE_FORK_SUPPORT", "").lower() in _YES  # noqa: TID251  gRPC's own switch
