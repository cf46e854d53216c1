"""Owns validating session tokens: the cache first, SQL when the cache does not know, the view always.

Leaves the cache's keys and clocks to the stores, and the write-behind of `seen_at` to core.last_seen.

A cached record is believed only if the view does not revoke its session; by an instance whose view is old only while
nobody can be revoking without the cache (core.roll). Whatever the cache does not know is read from SQL, once for all
who ask at the same time, behind a bulkhead: at most so many reads at once, so many waiting, and whoever comes on top of
that is refused at once, so that a cold cache cannot drown the database.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress

from authsvc.core.cached_sessions import CachedForm, LiveSession
from authsvc.core.clock import SECOND, Clock
from authsvc.core.contracts import (
    CacheAnswer,
    Ended,
    SessionCache,
    SessionStore,
    StoreUnavailable,
)
from authsvc.core.errors import Overloaded, SessionNotActive
from authsvc.core.last_seen import LastSeen
from authsvc.core.late_uses import LateUses
from authsvc.core.model import Session
from authsvc.core.tail import VIEW_BOUND_MS
from authsvc.core.tokens import Kind, TokenMint, TokenNotOurs
from authsvc.core.view import View

SQL_READS_AT_ONCE = 8
SQL_READS_WAITING = 512
# A look-up takes at most a few store time-outs; one that took longer was interrupted by a pause of the process.
PAUSE = 5 * SECOND


class Lookups:
    """How often the cache knew a session (live or ended), did not know it, or did not answer."""

    __slots__ = ("failed", "hits", "misses")

    def __init__(self) -> None:
        self.hits = self.misses = self.failed = 0

    def count(self, answer: CacheAnswer | Ended | None) -> None:
        """Count one answer."""
        if answer is None:
            self.misses += 1
        else:
            self.hits += 1


class SessionValidator:
    """Says whose session a session token is."""

    def __init__(
        self,
        mint: TokenMint,
        form: CachedForm,
        cache: SessionCache,
        store: SessionStore,
        view: View,
        last_seen: LastSeen,
        late_uses: LateUses,
        clock: Clock,
        monotonic: Clock,
        is_roll_complete: Callable[[], bool],
    ) -> None:
        self._mint = mint
        self._form = form
        self._cache = cache
        self._view = view
        self._last_seen = last_seen
        self._late_uses = late_uses
        self._clock = clock
        self._monotonic = monotonic
        self._is_roll_complete = is_roll_complete
        self.lookups = Lookups()
        self._cold = _ColdSessions(store, form, cache, last_seen, clock)

    async def validate(self, token: str) -> LiveSession:
        """Return the live session and slide its idle deadline.

        Raises SessionNotActive, Overloaded, StoreUnavailable.
        """
        try:
            session_hash = self._mint.hash_of(Kind.SESSION, token)
        except TokenNotOurs:
            raise SessionNotActive from None
        started = self._monotonic()
        live = await self._look_up(session_hash)
        if self._is_doubtful(started):
            live = await self._ask_sql(session_hash)
        if live is None:
            self._late_uses.note(session_hash)
            raise SessionNotActive
        return live

    async def validate_many(self, tokens: Sequence[str]) -> Sequence[LiveSession | None]:
        """Return a live session or None for each token, in order. Raises Overloaded, StoreUnavailable."""
        hashes = [self._hash_or_none(token) for token in tokens]
        asked = list({session_hash for session_hash in hashes if session_hash is not None})
        started = self._monotonic()
        live = await self._look_up_many(asked)
        if self._is_doubtful(started):
            live = dict(zip(asked, await asyncio.gather(*map(self._ask_sql, asked)), strict=True))
        for session_hash, found in live.items():
            if found is None:
                self._late_uses.note(session_hash)
        return [live.get(session_hash) if session_hash else None for session_hash in hashes]

    def _is_doubtful(self, started: int) -> bool:
        """Whether what a look-up begun then has found may have been revoked without our knowing: this process stood
        still meanwhile; or it does not hear from SQL, and somebody may be revoking who cannot tell the cache."""
        now = self._monotonic()
        if now - started > PAUSE:
            return True
        return now - self._view.fresh_at > VIEW_BOUND_MS and not self._is_roll_complete()

    async def _ask_sql(self, session_hash: bytes) -> LiveSession | None:
        live = await self._cold.read_anew(session_hash)
        return None if live is None or self._revoked(live) else live

    async def _look_up_many(self, asked: Sequence[bytes]) -> Mapping[bytes, LiveSession | None]:
        answers = await self._ask_cache(asked) if asked else ()
        live = {
            known: self._warm(answer)
            for known, answer in zip(asked, answers, strict=True)
            if answer is not None
        }
        cold = [unknown for unknown, answer in zip(asked, answers, strict=True) if answer is None]
        if cold:
            live.update(zip(cold, await asyncio.gather(*map(self._get_cold, cold)), strict=True))
        return live

    async def _ask_cache(self, hashes: Sequence[bytes]) -> Sequence[CacheAnswer | Ended | None]:
        try:
            answers = await self._cache.validate_many(hashes, self._clock())
            for answer in answers:
                self.lookups.count(answer)
            return answers
        except StoreUnavailable:
            self.lookups.failed += len(hashes)
            return [None] * len(hashes)

    def _hash_or_none(self, token: str) -> bytes | None:
        try:
            return self._mint.hash_of(Kind.SESSION, token)
        except TokenNotOurs:
            return None

    async def _look_up(self, session_hash: bytes) -> LiveSession | None:
        try:
            answer = await self._cache.validate(session_hash, self._clock())
            self.lookups.count(answer)
        except StoreUnavailable:
            self.lookups.failed += 1
            answer = None
        return await self._get_cold(session_hash) if answer is None else self._warm(answer)

    async def _get_cold(self, session_hash: bytes) -> LiveSession | None:
        live = await self._cold.get(session_hash)
        return None if live is None or self._revoked(live) else live

    def _warm(self, answer: CacheAnswer | Ended) -> LiveSession | None:
        if isinstance(answer, Ended):
            return None
        live = self._form.read(answer.body, answer.idle_expires_at)
        if self._revoked(live):
            return None
        if answer.flush_due:
            self._last_seen.note(live.id, self._clock())
        return live

    def _revoked(self, live: LiveSession) -> bool:
        return self._view.revokes(live.id, live.user_id, live.created_at)


class _ColdSessions:
    """Reads sessions that the cache does not know from SQL, and tells the cache."""

    def __init__(
        self, store: SessionStore, form: CachedForm, cache: SessionCache, last_seen: LastSeen, clock: Clock
    ) -> None:
        self._store = store
        self._form = form
        self._cache = cache
        self._last_seen = last_seen
        self._clock = clock
        self._slots = asyncio.Semaphore(SQL_READS_AT_ONCE)
        self._under_way: dict[bytes, asyncio.Task[LiveSession | None]] = {}
        self._reading_anew = 0

    async def get(self, session_hash: bytes) -> LiveSession | None:
        """Return the session if it is live; all who ask at the same time share one read."""
        task = self._under_way.get(session_hash)
        if task is None:
            if len(self._under_way) >= SQL_READS_AT_ONCE + SQL_READS_WAITING:
                raise Overloaded
            task = asyncio.create_task(self._read(session_hash))
            self._under_way[session_hash] = task
            task.add_done_callback(lambda done: self._done(session_hash, done))
        return await asyncio.shield(task)

    async def read_anew(self, session_hash: bytes) -> LiveSession | None:
        """Return the session if it is live, as read from now on: nobody else's reading will do."""
        if self._reading_anew >= SQL_READS_WAITING:
            raise Overloaded
        self._reading_anew += 1
        try:
            return await self._read(session_hash)
        finally:
            self._reading_anew -= 1

    def _done(self, session_hash: bytes, task: asyncio.Task[LiveSession | None]) -> None:
        del self._under_way[session_hash]
        if not task.cancelled():
            task.exception()  # Seen here: those who asked may all be gone.

    async def _read(self, session_hash: bytes) -> LiveSession | None:
        async with self._slots:
            session = await self._store.get_by_session_hash(session_hash)
        now = self._clock()
        if session is None or not session.session_is_live(now):
            await self._tell(self._cache.end([session_hash]))
            return None
        cached = self._form.write(session, seen_at=now, flushed_at=self._flushed(session, now))
        await self._tell(self._cache.add(session_hash, cached, now))
        return self._form.read(cached.body, cached.idle_expires_at)

    def _flushed(self, session: Session, now: int) -> int:
        """Let SQL know that the session was seen if that is due, and return what SQL knows."""
        if now - session.seen_at < session.session_idle_ms // 4:
            return session.seen_at
        self._last_seen.note(session.id, now)
        return now

    @staticmethod
    async def _tell(told: Awaitable[None]) -> None:
        with suppress(StoreUnavailable):  # The cache is only a view; whoever asks next reads SQL again.
            await told
