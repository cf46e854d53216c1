"""Owns keeping a verifier's keys fresh without a watcher: one thread that reads a source again and again.

Leaves the reading to `key_sources`. A failure keeps the last good set. A token that names an unknown key brings the
next read forward, to at most one in 30 s; the request itself never waits.
"""

import logging
import random
from threading import Event, Thread
from typing import Final, Self

from authsvc_client.forking import tell_of_forks
from authsvc_client.strict import KeySetRefused
from authsvc_client.verifying.key_sources import KeySource, KeySourceFailed
from authsvc_client.verifying.verifier import Verifier

KEY_FETCH_MS: Final = 30_000
"""At most one read on account of unknown keys in this time, however many tokens name them."""

# Verifiers that started together do not read together for ever.
_JITTER: Final = 0.1
_RETRY_MS: Final = 5_000
_STOP_SECONDS: Final = 10.0
_log = logging.getLogger("authsvc_client")


class KeyRefresh:
    """Keeps one verifier's keys fresh from `start` to `stop`, or for as long as the `with` block runs."""

    def __init__(self, verifier: Verifier, source: KeySource, *, key_fetch_ms: int = KEY_FETCH_MS) -> None:
        """Does nothing yet."""
        self._verifier = verifier
        self._source = source
        self._key_fetch_ms = key_fetch_ms
        self._wanted = Event()
        self._stopping = Event()
        self._ready = Event()
        self._thread: Thread | None = None
        self._resting = False
        verifier.on_unknown_key = self._want
        tell_of_forks(self)

    def start(self) -> None:
        """Begin, unless begun."""
        if self._thread is None:
            self._stopping = Event()
            self._thread = Thread(target=self._run, name="authsvc-key-refresh", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """End; a read under way is seen out."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._stopping.set()
            self._wanted.set()
            thread.join(_STOP_SECONDS)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def ready(self, timeout_ms: int = 10_000) -> None:
        """Return once there is a key set. Raises TimeoutError."""
        if not self._ready.wait(timeout_ms / 1000):
            raise TimeoutError("no key set yet")

    def before_fork(self) -> None:
        """Rest: a thread does not live on in a child."""
        self._resting = self._thread is not None
        self.stop()

    def after_fork(self) -> None:
        """Go on, in the parent and in the child."""
        if self._resting:
            self._resting = False
            self.start()

    def _want(self) -> None:
        if not self._wanted.is_set():
            self._wanted.set()

    def _run(self) -> None:
        stopping = self._stopping
        while not stopping.is_set():
            self._wanted.clear()
            every_ms = self._source.every_ms
            wait_ms: float = every_ms if self._read() else min(_RETRY_MS, every_ms)
            wait_ms *= random.uniform(1 - _JITTER, 1)  # noqa: S311  no secret
            apart_ms = min(wait_ms, self._key_fetch_ms)
            # Unknown keys are heard only once the last read is far enough away.
            if not stopping.wait(apart_ms / 1000) and apart_ms < wait_ms:
                self._wanted.wait((wait_ms - apart_ms) / 1000)

    def _read(self) -> bool:
        try:
            keys = self._source.read()
        except (KeySourceFailed, KeySetRefused) as error:
            _log.warning("the key set could not be renewed, the last one stays: %s", error)
            return False
        if keys is not None:
            self._verifier.use_keys(keys)
            self._ready.set()
        return True
