"""Signing keys change under continuous load, over two instances and a verifier that follows them: no valid token is
refused, and no tainted one is accepted a second after its taint was acknowledged."""

import asyncio
import json
import time
from base64 import urlsafe_b64decode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from authsvc.core.clock import MINUTE, SECOND
from authsvc.core.key_lifecycle import PUBLISH_AHEAD_MS
from authsvc.stores.embedded import EmbeddedValkey
from authsvc_client import Verifier, Watcher
from authsvc_client.strict import TokenRejected
from tests.parts.service import ISSUER, MovableClock, Service, run_service
from tests.parts.valkey import until
from tests.rpc.test_key_lifecycle import key_id_of, rotate, signing_keys, taint

CALLERS = 4
LATE_S = 1.0
_KEPT = 50


def expires_at(access_token: str) -> int:
    """The `exp` of a token, in milliseconds."""
    payload = access_token.split(".")[1]
    return int(json.loads(urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))["exp"]) * SECOND


@dataclass
class Load:
    """Callers that refresh without end, have each token judged at once and old ones again, and note what was said."""

    one: Service
    other: Service
    verifier: Verifier
    tainted: dict[str, float] = field(default_factory=dict)
    judged: int = 0
    signed: set[str] = field(default_factory=set)
    refused: list[str] = field(default_factory=list)
    accepted: list[str] = field(default_factory=list)
    ending: bool = False

    async def call(self, number: int) -> None:
        """Be one caller, at each instance in turn."""
        token = (await self.one.login(f"user {number}")).tokens.refresh_token
        kept: list[str] = []
        while not self.ending:
            for refreshing, asking in ((self.one, self.other), (self.other, self.one)):
                tokens = (await refreshing.refresh(token)).tokens
                token, kept = tokens.refresh_token, [*kept[-_KEPT:], tokens.access_token]
                for access_token in (kept[-1], kept[0]):
                    await self._judge(access_token, asking)

    async def _judge(self, access_token: str, asking: Service) -> None:
        key_id, began = key_id_of(access_token), time.monotonic()
        answers = {"introspected": (await asking.introspect(access_token)).active, "verified": True}
        try:
            self.verifier.verify(access_token)
        except TokenRejected:
            answers["verified"] = False
        self.judged += 1
        self.signed.add(key_id)
        for how, believed in answers.items():
            if not believed and key_id not in self.tainted and self.one.clock() < expires_at(access_token):
                self.refused.append(f"{how} {key_id}")
            if believed and began > self.tainted.get(key_id, began) + LATE_S:
                self.accepted.append(f"{how} {key_id}")

    async def more(self, least: int = 40) -> None:
        """Wait until the callers have had that many tokens judged from now on."""
        enough = self.judged + least

        async def judged() -> bool:
            return self.judged >= enough

        await until(judged, within_s=30)

    async def taint(self, service: Service) -> None:
        """Distrust the key that signs now."""
        key_id = (await signing_keys(service))["active"].key_id
        self.tainted[key_id] = (
            time.monotonic() + 60
        )  # from now on a refusal is right; late is only known below
        await taint(service, key_id)
        self.tainted[key_id] = time.monotonic()


@asynccontextmanager
async def load(database_url: str, cache_url: str) -> AsyncIterator[Load]:
    """Callers at work on two instances, until the block ends."""
    clock = MovableClock()
    verifier = Verifier(ISSUER, "orders", clock=clock)
    async with (
        run_service(database_url, cache_url, clock, access_ttl=15 * MINUTE) as one,
        run_service(database_url, cache_url, clock, access_ttl=15 * MINUTE) as other,
        Watcher(other.address, other.keys["gateway"], verifier) as watcher,
    ):
        await watcher.ready()
        under = Load(one, other, verifier)
        callers = [asyncio.create_task(under.call(number)) for number in range(CALLERS)]
        try:
            await under.more()
            yield under
        finally:
            under.ending = True
            await asyncio.gather(*callers)


async def _prepared(service: Service) -> bool:
    return "prepared" in await signing_keys(service)


async def test_nothing_valid_is_refused(database_url: str, valkey: EmbeddedValkey) -> None:
    """Rotation and taint under load: 0 valid tokens refused, 0 tainted tokens accepted after 1 s.

    Held by the next key being published from the time the one before it signs (ManagedKeys._prepare): without that,
    the first tokens of a fresh key are refused wherever it is not known yet.
    """
    async with load(database_url, valkey.url) as under:
        for change in (_rotate, _taint, _rotate, _taint):
            await until(lambda: _prepared(under.one), within_s=10)
            await change(under)
            await under.more()
        await asyncio.sleep(LATE_S)  # what is promised is a time
        await under.more()

    assert (under.refused, under.accepted) == ([], [])
    assert len(under.tainted) == 2
    assert len(under.signed) >= 3


async def _rotate(under: Load) -> None:
    under.other.clock.move(PUBLISH_AHEAD_MS)  # tokens of the last minutes stay good for some more
    await rotate(under.other)


async def _taint(under: Load) -> None:
    await under.taint(under.one)
