"""Owns the row of sizes: what a session, a user and an event take up at rest. Leaves what follows to `capacity`.

Whole tables with their indexes, and all of Valkey's memory, divided by what is in them; nothing is timed.
"""

import asyncio
import os
from dataclasses import dataclass
from functools import cache
from math import nan

import asyncpg  # type: ignore[import-untyped]
import redis.asyncio

from authsvc.core.ids import new_id
from authsvc.core.model import AuditEvent, Revocation, Subject, User
from authsvc.core.usernames import username_key
from authsvc.outside import wall_clock
from authsvc.stores.embedded import EmbeddedValkey
from authsvc.stores.embedded_postgres import EmbeddedPostgres
from authsvc.stores.sql import SqlStores, open_stores, revocations
from authsvc.stores.sql.compiled import insert_whole
from authsvc.stores.sql.rows import event_values, user_values
from authsvc.stores.sql.schema import audit_events, users
from benchmarks import seed, service
from benchmarks.samples import Sample
from benchmarks.stage import Stage

MANY = 10_000
# Of an argon2id string of today's cost.
_HASH = "$argon2id$v=19$m=19456,t=2,p=1$" + "a" * 22 + "$" + "b" * 43
_TABLES = {"users": "user", "sessions": "session", "revocations": "revocation", "audit_events": "event"}


@dataclass(frozen=True, slots=True)
class Sizes:
    """Bytes of each thing, in `more`."""

    name: str = "sizes"
    about: str = "bytes at rest: sessions, users, events; see latest.json"

    def measure(self, stage: Stage, seconds: float) -> Sample:
        """Fill stores of its own, the first time."""
        return Sample(nan, nan, nan, nan, _measured(stage))


@cache
def _measured(stage: Stage) -> dict[str, float]:
    database = EmbeddedPostgres()
    database.start()
    try:
        return asyncio.run(_measure(stage, database))
    finally:
        database.remove()


async def _measure(stage: Stage, database: EmbeddedPostgres) -> dict[str, float]:
    valkey = EmbeddedValkey(stage.directory / "valkey-sizes")
    await valkey.start()
    place = service.Place(
        database.url("postgres"), valkey.url, os.urandom(32).hex().encode(), stage.directory / "sizes.log"
    )
    async with redis.asyncio.Redis.from_url(valkey.url) as inside:
        before = await _memory(inside)
        await seed.seed(service.settings_for(place))
        cached = (await _memory(inside) - before) / seed.SESSIONS
    await _fill(open_stores(place.database_url))
    sizes = await _tables(place.database_url)
    await valkey.stop()
    return {**sizes, "cached_session_bytes": cached}


async def _fill(stores: SqlStores) -> None:
    now = wall_clock()
    people = [
        User(new_id(now, os.urandom), f"person-{n}@example.com", (), now, None, now) for n in range(MANY)
    ]
    events = [
        AuditEvent(
            "token.rotated",
            now + n,
            actor="login",
            user_id=user.id,
            session_id=user.id,
            client_id="login",
            device=seed.new_session(user).device,
            reason="generation 7",
        )
        for n, user in enumerate(people)
    ]
    entries = [Revocation(0, Subject.SESSION, user.id, None, now) for user in people]
    async with stores.database.write() as transaction:
        values = [user_values(user, username_key(user.username), _HASH) for user in people]
        await transaction.run_many(insert_whole(users), values)
        await transaction.run_many(insert_whole(audit_events), [event_values(event) for event in events])
        await revocations.append(transaction, entries)
    await stores.close()


async def _tables(url: str) -> dict[str, float]:
    connection = await asyncpg.connect(url)
    try:
        return {
            f"{name}_bytes": await connection.fetchval(
                f"SELECT pg_total_relation_size('{table}')::float8 / count(*) FROM {table}"  # noqa: S608
            )
            for table, name in _TABLES.items()
        }
    finally:
        await connection.close()


async def _memory(inside: "redis.asyncio.Redis") -> int:
    return int((await inside.info("memory"))["used_memory"])
