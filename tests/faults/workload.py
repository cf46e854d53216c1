"""Owns what the clients of a run do, by seed: each logs users in and uses, renews, races and ends their sessions, and
goes on using what has ended. Leaves putting it on record to `calling`."""

import asyncio
import random
from collections.abc import Awaitable, Callable

from tests.faults.calling import Callers, Held, digest
from tests.faults.deployment import now_ms
from tests.faults.history import History

SESSIONS = 4
# Long enough to meet an instance whose view had every reason to be old.
ENDED_USED_MS = 15_000
ACCESS_USED_MS = 120_000
_PAUSE_S = 0.05
_IMPATIENT = 0.06
_TRIES = 3


class Client:
    """One client and its user's sessions, live ones and ended ones."""

    def __init__(self, callers: Callers, instances: int, username: str, choose: random.Random) -> None:
        self._callers = callers
        self._instances = instances
        self._username = username
        self._choose = choose
        self._live: list[Held] = []
        self._ended: list[tuple[int, Held]] = []
        # What to do, how often, and whether it needs a live session.
        self._doings: list[tuple[int, Callable[[Held], Awaitable[object]]]] = [
            (30, self._validate),
            (6, lambda held: self._callers.introspect(self._any(), held)),
            (10, self._introspect_access),
            (5, lambda held: self._callers.exchange(self._any(), held)),
            (5, self._batch),
            (14, self._refresh),
            (5, self._refresh_at_once),
            (7, self._revoke),
            (3, self._refresh_against_revoke),
            (1, self._revoke_all),
            (1, self._present_stale),
            (10, self._log_in),
        ]

    async def run(self, stop: asyncio.Event) -> None:
        """Do one thing after the other until it is time to stop."""
        weights = [weight for weight, _ in self._doings]
        while not stop.is_set():
            self._forget()
            if not self._live:
                await self._log_in()
            elif self._ended and self._choose.random() < 0.4:
                await self._use_ended(self._choose.choice(self._ended)[1])
            else:
                [doing] = self._choose.choices([each for _, each in self._doings], weights)
                await doing(self._choose.choice(self._live))
            await asyncio.sleep(self._choose.expovariate(1 / _PAUSE_S))

    async def look_at_all(self) -> None:
        """Use every session once more, live or ended; everything is whole by now."""
        for held in [*self._live, *(held for _, held in self._ended)]:
            for instance in range(self._instances):
                await self._callers.validate(instance, held)
        for held in self._live:
            await self._renew(held)

    def _any(self) -> int:
        return self._choose.randrange(self._instances)

    def _patience(self) -> float:
        return self._choose.uniform(0.001, 0.04) if self._choose.random() < _IMPATIENT else 2.0

    def _forget(self) -> None:
        now = now_ms()
        self._ended = [(at, held) for at, held in self._ended if now - at < ENDED_USED_MS]

    async def _log_in(self, _: Held | None = None) -> None:
        if len(self._live) < SESSIONS:
            held = await self._callers.login(self._any(), self._username)
            if held is not None:
                self._live.append(held)

    async def _validate(self, held: Held) -> None:
        await self._callers.validate(self._any(), held, patience_s=self._patience())

    async def _introspect_access(self, held: Held) -> None:
        if now_ms() - held.access_at < ACCESS_USED_MS:
            await self._callers.introspect_access(self._any(), held)

    async def _batch(self, held: Held) -> None:
        await self._callers.validate_batch(self._any(), [held, *self._live, *(e for _, e in self._ended)])

    async def _refresh(self, held: Held) -> None:
        """Refresh as an honest client does: while nobody knows what happened, present the same token again."""
        await self._renew(held)

    async def _renew(self, held: Held) -> None:
        patience_s = self._patience()
        for _ in range(_TRIES):
            token = held.refresh_token
            reply = await self._callers.refresh(self._any(), held, patience_s=patience_s)
            if reply is not None:
                self._take(held, token, reply)
                return
            if self._was_refused(token):
                self._end(held)
                return
            patience_s = 2.0
            await asyncio.sleep(0.1)

    async def _refresh_at_once(self, held: Held) -> None:
        """Two or three tabs present the same token."""
        token = held.refresh_token
        tabs = self._choose.randint(2, 3)
        replies = await asyncio.gather(
            *(self._callers.refresh(self._any(), held, token) for _ in range(tabs))
        )
        for reply in replies:
            if reply is not None:
                self._take(held, token, reply)
        if self._was_refused(token):
            self._end(held)

    async def _refresh_against_revoke(self, held: Held) -> None:
        token = held.refresh_token
        racing = [self._callers.refresh(self._any(), held, token), self._callers.revoke(self._any(), held)]
        self._choose.shuffle(racing)
        for reply in await asyncio.gather(*racing):
            if reply is not None and hasattr(reply, "tokens"):
                self._take(held, token, reply)
        await self._make_sure(held)

    async def _revoke(self, held: Held) -> None:
        token = self._choose.choice([held.session_token, held.session_token, held.refresh_token])
        reply = await self._callers.revoke(self._any(), held, token, patience_s=self._patience())
        if reply is None:
            await self._make_sure(held)
            return
        held.revision = reply.revision
        self._end(held)
        if self._choose.random() < 0.5:
            await self._callers.validate(self._any(), held, min_revision=reply.revision)

    async def _make_sure(self, held: Held) -> None:
        """Revoke again until somebody says that it is done; what nobody confirms is not used any more."""
        for _ in range(_TRIES):
            if await self._callers.revoke(self._any(), held) is not None:
                break
            await asyncio.sleep(0.1)
        self._end(held)

    async def _revoke_all(self, held: Held) -> None:
        for each in self._live:
            self._ended.append((now_ms(), each))
        self._live.clear()
        await self._callers.revoke_user(self._any(), held.user)

    async def _present_stale(self, held: Held) -> None:
        """As a thief would: a token that was replaced, and whose successor was used."""
        if len(held.stale) > 1:
            await self._callers.refresh(self._any(), held, held.stale[-2])
            await self._callers.refresh(self._any(), held)
            self._end(held)

    async def _use_ended(self, held: Held) -> None:
        use = self._choose.random()
        if use < 0.6:
            revision = held.revision if self._choose.random() < 0.3 else 0
            await self._callers.validate(self._any(), held, min_revision=revision)
        elif use < 0.8:
            await self._introspect_access(held)
        else:
            await self._callers.refresh(self._any(), held)

    def _take(self, held: Held, presented: str, reply: object) -> None:
        """Hold the successor, and remember the token that it replaces."""
        successor = reply.tokens.refresh_token  # type: ignore[attr-defined]
        if held.refresh_token != presented:
            return
        held.stale.append(presented)
        held.refresh_token = successor
        held.access_token = reply.tokens.access_token  # type: ignore[attr-defined]
        held.access_at = now_ms()

    def _was_refused(self, token: str) -> bool:
        name = digest(token)
        recent = self._callers.history.calls[-400:]
        return any(call.token == name and call.reason.startswith("REFRESH_TOKEN") for call in recent)

    def _end(self, held: Held) -> None:
        if held in self._live:
            self._live.remove(held)
            self._ended.append((now_ms(), held))


async def guess(
    callers: Callers, instances: int, username: str, choose: random.Random, stop: asyncio.Event
) -> None:
    """Try wrong passwords against one account, at any instance."""
    while not stop.is_set():
        await callers.guess(choose.randrange(instances), username)
        await asyncio.sleep(choose.uniform(0.1, 0.5))


async def probe(callers: Callers, instance: int, held: Held, stop: asyncio.Event) -> None:
    """Ask one instance, again and again, for what only SQL knows and for a session."""
    while not stop.is_set():
        await callers.list_users(instance)
        await callers.validate(instance, held)
        await asyncio.sleep(0.1)


async def watch_own_time(history: History, stop: asyncio.Event) -> None:
    """Put on record when this process itself was late, so that nobody else is blamed for it."""
    step_s, allowed_ms = 0.05, 50
    while not stop.is_set():
        began = now_ms()
        await asyncio.sleep(step_s)
        late = now_ms() - began - round(step_s * 1000)
        if late > allowed_ms:
            history.lateness.append((now_ms(), late))
