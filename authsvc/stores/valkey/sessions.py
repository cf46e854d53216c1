"""Owns cached sessions in Valkey: their keys, their stored form, and the calls on them. What a look-up decides is in
`validate.lua`; leaves rebuilding from SQL to the core.

Key: `as:{<hash>}:<generation>`. The hash is the hash tag, so that the slot does not change with the generation. The
generation is a digest of the `run_id` of the process behind the connection and of the epoch: key and connection are
taken in one step, so a record is only ever asked of the very process that took its write.
"""

import asyncio
import hashlib
import struct
from collections.abc import Sequence
from typing import Any

from authsvc.core.clock import MINUTE
from authsvc.core.contracts import ENDED, CacheAnswer, CachedSession, Ended, StoreUnavailable
from authsvc.stores.valkey.connection import Connection
from authsvc.stores.valkey.scripts import END, VALIDATE, Script
from authsvc.stores.valkey.topology import Topology

_HEADER = struct.Struct(">4q")  # idle_expires_at, idle_ms, expires_at, flushed_at; validate.lua reads it too
_DEADLINE = struct.Struct(">q")
_KEY_LENGTH = len("as:{}:") + 64 + 16

# Outlives any `add` under way, also of an instance that was paused for a while between its read and its write.
_TOMBSTONE_TTL_MS = 10 * MINUTE

# So that no script holds the server up: 256 keys take it about half a millisecond.
_CHUNK = 256

_Answer = CacheAnswer | Ended | None


class ValkeySessions:
    """A SessionCache."""

    def __init__(self, topology: Topology, epoch: int) -> None:
        self._topology = topology
        self._epoch = epoch
        self._endings: dict[str, bytes] = {}  # run_id -> how keys of that process end
        # `validate` is called for every ValidateSession, so its command is not packed anew each time: only hash,
        # ending and clock change, and all of them have fixed widths.
        self._command = b"*5\r\n$7\r\nEVALSHA\r\n$40\r\n%b\r\n$1\r\n1\r\n$%d\r\nas:{" % (
            VALIDATE.sha.encode(),
            _KEY_LENGTH,
        )

    def set_epoch(self, epoch: int) -> None:
        self._epoch = epoch
        self._endings.clear()

    def validate(self, session_hash: bytes, now: int) -> "asyncio.Future[_Answer]":
        # No coroutine: the connection's own future is awaited, and is done with the answer as it was read.
        tag = session_hash.hex().encode()
        try:
            connection = self._topology.connection(tag)
            ending = self._endings.get(connection.run_id) or self._ending(connection.run_id)
            command = b"%b%b%b\r\n$15\r\n%015d\r\n" % (self._command, tag, ending, now)
            return connection.send(command, _only_answer)
        except StoreUnavailable as error:
            unknown: asyncio.Future[_Answer] = asyncio.get_running_loop().create_future()
            unknown.set_exception(error)
            return unknown

    async def validate_many(self, session_hashes: Sequence[bytes], now: int) -> Sequence[_Answer]:
        if not self._topology.one_slot:
            return await self._validate_each(session_hashes, now)
        calls = [self._run(VALIDATE, chunk, now) for chunk in _chunks(session_hashes, _CHUNK)]
        return [_answer(reply) for replies in await asyncio.gather(*calls) for reply in replies]

    async def add(self, session_hash: bytes, cached: CachedSession, now: int) -> None:
        ttl_ms = cached.idle_expires_at - now
        if ttl_ms <= 0:
            return
        connection = self._topology.connection(session_hash.hex().encode())
        header = _HEADER.pack(cached.idle_expires_at, cached.idle_ms, cached.expires_at, cached.flushed_at)
        await connection.call(
            "SET", self._key(connection, session_hash), header + cached.body, "NX", "PX", ttl_ms
        )

    async def end(self, session_hashes: Sequence[bytes]) -> None:
        size = _CHUNK if self._topology.one_slot else 1
        await asyncio.gather(
            *(self._run(END, chunk, _TOMBSTONE_TTL_MS) for chunk in _chunks(session_hashes, size))
        )

    async def _validate_each(self, session_hashes: Sequence[bytes], now: int) -> Sequence[_Answer]:
        """One call per key, all under way at once. What is on a server that is down is not known here."""
        calls = (self.validate(session_hash, now) for session_hash in session_hashes)
        answers = await asyncio.gather(*calls, return_exceptions=True)
        failures = [answer for answer in answers if isinstance(answer, BaseException)]
        for failure in failures:
            if not isinstance(failure, StoreUnavailable) or len(failures) == len(answers):
                raise failure
        return [None if isinstance(answer, BaseException) else answer for answer in answers]

    def _run(self, script: Script, session_hashes: Sequence[bytes], *args: int) -> "asyncio.Future[Any]":
        """Call a script on keys of one slot, or of any where there are no slots."""
        connection = self._topology.connection(session_hashes[0].hex().encode())
        keys = [self._key(connection, session_hash) for session_hash in session_hashes]
        return connection.send(script.call(keys, *args))

    def _key(self, connection: Connection, session_hash: bytes) -> bytes:
        return b"as:{%b%b" % (session_hash.hex().encode(), self._ending(connection.run_id))

    def _ending(self, run_id: str) -> bytes:
        """Return how keys of this process and epoch end: the hash tag's brace and the generation."""
        ending = self._endings.get(run_id)
        if ending is None:
            digest = hashlib.blake2b(f"{run_id} {self._epoch}".encode(), digest_size=8).hexdigest()
            ending = self._endings[run_id] = f"}}:{digest}".encode()
        return ending


def _only_answer(replies: list[Any]) -> _Answer:
    return _answer(replies[0])


def _answer(reply: Any) -> _Answer:
    """Read one reply of validate.lua."""
    if reply is None:
        return None
    if reply == 0:
        return ENDED
    flush_due = type(reply) is list
    value: bytes = reply[0] if flush_due else reply
    return CacheAnswer(value[_HEADER.size :], _DEADLINE.unpack_from(value)[0], flush_due)


def _chunks(session_hashes: Sequence[bytes], size: int) -> list[Sequence[bytes]]:
    return [session_hashes[start : start + size] for start in range(0, len(session_hashes), size)]
