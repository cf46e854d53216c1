"""Owns where a session's newest tokens are kept, and who may renew them: one at a time, wherever they all are.

`MemoryStore` is for one process, the sources in it that began with the same refresh token, and its forked children.
`token_file.TokenFile` outlives the process. Leaves renewing to `renewal`.
"""

import json
import os
import tempfile
import threading
import weakref
from collections import deque
from dataclasses import asdict, dataclass, field
from fcntl import LOCK_EX, LOCK_NB, LOCK_UN, lockf
from hashlib import sha256
from typing import Protocol

_REMEMBERED_TOKENS = 8


@dataclass(frozen=True, slots=True)
class Stored:
    """What is kept of a session. `…_at` are Unix milliseconds.

    `origin` says what the session began with, as a hash. `ended` is why it is over, empty while it is not.
    `access_token` may be empty; it was issued for `wanted`.
    """

    issuer: str
    origin: str
    refresh_token: str = field(default="", repr=False)
    access_token: str = field(default="", repr=False)
    wanted: str = ""
    received_at: int = 0
    expires_at: int = 0
    ended: str = ""

    def to_json(self) -> bytes:
        """As bytes to keep."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def from_json(cls, raw: bytes) -> "Stored | None":
        """What `to_json` gave, or None for anything else."""
        try:
            found = cls(**json.loads(raw))
        except (TypeError, ValueError):
            return None
        texts = (
            found.issuer,
            found.origin,
            found.refresh_token,
            found.access_token,
            found.wanted,
            found.ended,
        )
        times = (found.received_at, found.expires_at)
        return found if {*map(type, texts)} == {str} and {*map(type, times)} == {int} else None


class TokenStore(Protocol):
    """Keeps the tokens of one session. Every method MUST return at once; `read` and `write` are called under the lock.

    The lock MUST exclude every other holder of the same tokens, threads and processes alike, and MUST be free again
    when its holder has died. `write` MUST be all or nothing.
    """

    def try_lock(self) -> bool:
        """Take the lock if it is free, and say so."""

    def unlock(self) -> None:
        """Give the lock back."""

    def read(self) -> Stored | None:
        """What was written last; None if there is nothing."""

    def write(self, stored: Stored) -> None:
        """Keep this instead."""


class MemoryStore:
    """Tokens in memory, shared with forked children through a nameless file that never reaches a directory."""

    def __init__(self) -> None:
        self._file = _nameless_file()
        weakref.finalize(self, os.close, self._file)
        self._process = os.getpid()
        self._lock = threading.Lock()
        self._known: deque[bytes] = deque(maxlen=_REMEMBERED_TOKENS)

    @classmethod
    def beginning_with(cls, refresh_token: str) -> "MemoryStore":
        """The store of the session that this refresh token belongs to, if this process has one; else a new one.

        Two sources given the same refresh token so share its successors, instead of the later one presenting a token
        that the earlier one has used up.
        """
        with _registering:
            token_hash = _hash(refresh_token)
            store = _by_token.get(token_hash)
            if store is None:
                store = _by_token[token_hash] = cls()
            return store

    def try_lock(self) -> bool:
        """Take the lock if it is free, and say so."""
        if self._process != os.getpid():
            self._lock, self._process = threading.Lock(), os.getpid()
        if not self._lock.acquire(blocking=False):
            return False
        try:
            lockf(self._file, LOCK_EX | LOCK_NB)
        except OSError:
            self._lock.release()
            return False
        return True

    def unlock(self) -> None:
        """Give the lock back."""
        lockf(self._file, LOCK_UN)
        self._lock.release()

    def read(self) -> Stored | None:
        """What was written last; None if there is nothing."""
        return Stored.from_json(os.pread(self._file, os.fstat(self._file).st_size, 0))

    def write(self, stored: Stored) -> None:
        """Keep this instead."""
        raw = stored.to_json()
        os.ftruncate(self._file, len(raw))
        os.pwrite(self._file, raw, 0)
        if stored.refresh_token:
            self._remember(_hash(stored.refresh_token))

    def _remember(self, token_hash: bytes) -> None:
        with _registering:
            if token_hash in self._known:
                return
            if len(self._known) == _REMEMBERED_TOKENS:
                _by_token.pop(self._known[0], None)
            self._known.append(token_hash)
            _by_token[token_hash] = self


_registering = threading.Lock()
os.register_at_fork(
    before=_registering.acquire, after_in_parent=_registering.release, after_in_child=_registering.release
)
_by_token: "weakref.WeakValueDictionary[bytes, MemoryStore]" = weakref.WeakValueDictionary()


def _hash(text: str) -> bytes:
    return sha256(text.encode()).digest()


def _nameless_file() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("authsvc-tokens")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())
