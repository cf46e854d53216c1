"""The cached session: deadlines, slides, and who wins."""

import asyncio
import hashlib
from dataclasses import replace

import pytest
import redis.asyncio as redis

from authsvc.core.clock import DAY, HOUR, MINUTE, SECOND
from authsvc.core.contracts import ENDED, CacheAnswer, CachedSession, Ended
from authsvc.stores.embedded import EmbeddedValkey
from authsvc.stores.valkey import CacheStores, open_cache
from tests.parts.valkey import IDLE, NOW, cached, hash_of

HASH = hash_of("a session")
STEP = min(MINUTE, IDLE // 20)


async def writes(inside: redis.Redis) -> int:
    """How many writes the server has made since the test began, also within scripts."""
    stats = await inside.info("commandstats")
    return sum(
        stats.get(f"cmdstat_{name}", {"calls": 0})["calls"] for name in ("set", "setrange", "pexpire", "del")
    )


async def test_unknown_is_none(cache: CacheStores) -> None:
    """What was never added is not known, which is not the same as ended."""
    answer = await cache.sessions.validate(HASH, NOW)

    assert answer is None


async def test_body_comes_back_as_it_was(cache: CacheStores) -> None:
    """The cache keeps the body byte for byte, whatever is in it."""
    body = bytes(range(256)) * 4
    await cache.sessions.add(HASH, cached(body), NOW)

    answer = await cache.sessions.validate(HASH, NOW)

    assert answer == CacheAnswer(body, NOW + IDLE, flush_due=False)


@pytest.mark.parametrize("early", [1, SECOND])
async def test_live_until_its_idle_deadline(cache: CacheStores, early: int) -> None:
    """A session is live right up to its idle deadline."""
    await cache.sessions.add(HASH, cached(), NOW)

    answer = await cache.sessions.validate(HASH, NOW + IDLE - early)

    assert isinstance(answer, CacheAnswer)


@pytest.mark.parametrize("late", [0, 1, SECOND])
async def test_ended_at_its_idle_deadline(cache: CacheStores, late: int) -> None:
    """From its idle deadline on a session is ended, though the record is still there."""
    await cache.sessions.add(HASH, cached(), NOW)

    answer = await cache.sessions.validate(HASH, NOW + IDLE + late)

    assert answer is ENDED


@pytest.mark.parametrize(
    ("late", "live"), [(-SECOND, True), (-1, True), (0, False), (1, False), (SECOND, False)]
)
async def test_sliding_never_passes_the_absolute_deadline(cache: CacheStores, late: int, live: bool) -> None:
    """However often it is used, a session ends at its absolute deadline."""
    await cache.sessions.add(HASH, cached(absolute_ms=HOUR), NOW)
    for minutes in range(1, 60, 2):
        await cache.sessions.validate(HASH, NOW + minutes * MINUTE)

    answer = await cache.sessions.validate(HASH, NOW + HOUR + late)

    assert isinstance(answer, CacheAnswer) == live
    assert not isinstance(answer, CacheAnswer) or answer.idle_expires_at == NOW + HOUR


@pytest.mark.parametrize(("passed", "moved"), [(STEP, 0), (STEP + 1, STEP + 1)])
async def test_slides_only_after_a_step(cache: CacheStores, passed: int, moved: int) -> None:
    """The deadline moves only when it would move by more than the step."""
    await cache.sessions.add(HASH, cached(), NOW)

    answer = await cache.sessions.validate(HASH, NOW + passed)

    assert isinstance(answer, CacheAnswer)
    assert answer.idle_expires_at == NOW + IDLE + moved


async def test_a_slid_deadline_is_kept(cache: CacheStores) -> None:
    """A session in use outlives its first idle deadline."""
    await cache.sessions.add(HASH, cached(), NOW)
    await cache.sessions.validate(HASH, NOW + IDLE - 1)

    answer = await cache.sessions.validate(HASH, NOW + 2 * IDLE - 2)

    assert isinstance(answer, CacheAnswer)


async def test_a_clock_that_lags_moves_nothing_back(cache: CacheStores) -> None:
    """An instance whose clock lags cannot shorten what another has granted."""
    await cache.sessions.add(HASH, cached(), NOW)
    await cache.sessions.validate(HASH, NOW + 10 * MINUTE)

    answer = await cache.sessions.validate(HASH, NOW - 10 * MINUTE)

    assert isinstance(answer, CacheAnswer)
    assert answer.idle_expires_at == NOW + 10 * MINUTE + IDLE


async def test_letting_sql_know_moves_nothing_back(cache: CacheStores) -> None:
    """A write that is due for SQL's sake keeps a deadline that is later than this clock would grant."""
    await cache.sessions.add(HASH, replace(cached(), flushed_at=NOW - IDLE), NOW)

    answer = await cache.sessions.validate(HASH, NOW - MINUTE)

    assert answer == CacheAnswer(b"a session", NOW + IDLE, flush_due=True)


async def test_a_thousand_looks_in_a_minute_write_at_most_twice(
    cache: CacheStores, inside: redis.Redis
) -> None:
    """Reading is not writing: 1,000 validations within a minute write to the server twice at most."""
    await cache.sessions.add(HASH, cached(), NOW)
    before = await writes(inside)

    for look in range(1000):
        await cache.sessions.validate(HASH, NOW + look * 60)

    assert await writes(inside) - before <= 2


async def test_sql_is_due_once_per_quarter_of_idle(cache: CacheStores) -> None:
    """Each quarter of the idle time exactly one of the concurrent looks is told to let SQL know."""
    await cache.sessions.add(HASH, cached(), NOW)
    flushes = 0

    for quarter in range(1, 9):
        for late in (-1, 0, 1, 1000):
            moment = NOW + quarter * IDLE // 4 + late
            looks = await asyncio.gather(*(cache.sessions.validate(HASH, moment) for _ in range(8)))
            flushes += sum(isinstance(look, CacheAnswer) and look.flush_due for look in looks)

    assert flushes == 8


async def test_sql_is_due_at_the_absolute_deadline_too(cache: CacheStores) -> None:
    """Where the deadline cannot move any more, SQL still hears of use."""
    await cache.sessions.add(HASH, cached(absolute_ms=IDLE), NOW)

    answer = await cache.sessions.validate(HASH, NOW + IDLE // 4)

    assert answer == CacheAnswer(b"a session", NOW + IDLE, flush_due=True)


async def test_looking_creates_nothing(cache: CacheStores, inside: redis.Redis) -> None:
    """A look never creates a key: not for the unknown, not for the ended, not for the expired."""
    await cache.sessions.add(hash_of("expired"), cached(), NOW)
    await cache.sessions.end([hash_of("ended")])
    before = {key: await inside.get(key) for key in await inside.keys()}

    for name in ("unknown", "ended", "expired"):
        await cache.sessions.validate(hash_of(name), NOW + IDLE)
        await cache.sessions.validate_many([hash_of(name)], NOW + IDLE)

    assert {key: await inside.get(key) for key in await inside.keys()} == before


async def test_looking_does_not_resurrect_what_was_dropped(cache: CacheStores, inside: redis.Redis) -> None:
    """A record that the server lost stays lost, also when a slide is due."""
    await cache.sessions.add(HASH, cached(), NOW)
    await inside.flushall()

    answer = await cache.sessions.validate(HASH, NOW + 10 * MINUTE)

    assert answer is None
    assert await inside.dbsize() == 0


async def test_records_leave_by_themselves(cache: CacheStores, inside: redis.Redis) -> None:
    """A record's TTL is the time to its deadline, also after a slide, so that nothing piles up."""
    await cache.sessions.add(HASH, cached(absolute_ms=HOUR), NOW)
    (key,) = await inside.keys()

    ttls = [await inside.pttl(key)]
    for now in (NOW + 10 * MINUTE, NOW + 35 * MINUTE):
        await cache.sessions.validate(HASH, now)
        ttls.append(await inside.pttl(key))

    assert [round(ttl / MINUTE) for ttl in ttls] == [30, 30, 25]


async def test_an_expired_record_is_not_added(cache: CacheStores, inside: redis.Redis) -> None:
    """What is past its deadline is not worth keeping."""
    await cache.sessions.add(HASH, cached(), NOW + IDLE)

    assert await inside.dbsize() == 0


async def test_add_loses_against_end(cache: CacheStores) -> None:
    """A rebuild that read its row before the revocation cannot bring the session back."""
    await cache.sessions.end([HASH])

    await cache.sessions.add(HASH, cached(), NOW)

    assert await cache.sessions.validate(HASH, NOW) is ENDED


async def test_add_does_not_replace(cache: CacheStores) -> None:
    """A second rebuild cannot put an idle deadline back that has moved since."""
    await cache.sessions.add(HASH, cached(b"first"), NOW)

    await cache.sessions.add(HASH, replace(cached(b"second"), idle_expires_at=NOW + 1), NOW)

    assert await cache.sessions.validate(HASH, NOW + SECOND) == CacheAnswer(b"first", NOW + IDLE, False)


async def test_end_wins_over_a_live_record(cache: CacheStores, inside: redis.Redis) -> None:
    """From `end` on the session is ended, and the memory of that outlives any rebuild under way."""
    await cache.sessions.add(HASH, cached(), NOW)

    await cache.sessions.end([HASH])

    assert await cache.sessions.validate(HASH, NOW + 5 * MINUTE) is ENDED
    (key,) = await inside.keys()
    assert await inside.pttl(key) > 60 * SECOND


async def test_many_answers_in_order(cache: CacheStores, inside: redis.Redis) -> None:
    """A batch answers each hash in its place, in few calls however large it is."""
    hashes = [hash_of(number) for number in range(600)]
    for number in range(0, 600, 3):
        await cache.sessions.add(hashes[number], cached(str(number).encode()), NOW)
    await cache.sessions.end(hashes[1::3])
    await inside.config_resetstat()

    answers = await cache.sessions.validate_many(hashes, NOW)

    for number, answer in enumerate(answers):
        expected: list[CacheAnswer | Ended | None]
        expected = [CacheAnswer(str(number).encode(), NOW + IDLE, False), ENDED, None]
        assert answer == expected[number % 3]
    assert (await inside.info("commandstats"))["cmdstat_evalsha"]["calls"] == 3


async def test_many_of_none(cache: CacheStores) -> None:
    """An empty batch is answered without a call, and ends nothing."""
    await cache.sessions.end([])

    answers = await cache.sessions.validate_many([], NOW)

    assert list(answers) == []


async def test_another_epoch_is_cold(cache: CacheStores, valkey: EmbeddedValkey) -> None:
    """When the epoch moves, no record of the old one is believed, and its tombstones bind nobody."""
    await cache.sessions.add(HASH, cached(), NOW)
    other = await open_cache(valkey.url, epoch=2)

    cache.sessions.set_epoch(2)

    assert await cache.sessions.validate(HASH, NOW) is None
    assert await cache.sessions.validate_many([HASH], NOW) == [None]
    await other.sessions.add(HASH, cached(b"rebuilt"), NOW)
    assert await cache.sessions.validate(HASH, NOW) == CacheAnswer(b"rebuilt", NOW + IDLE, False)
    await other.close()


async def test_instances_share_what_they_know(cache: CacheStores, valkey: EmbeddedValkey) -> None:
    """At one epoch and one server, instances see each other's records and ends."""
    other = await open_cache(valkey.url, epoch=1)
    await cache.sessions.add(HASH, cached(), NOW)

    seen = await other.sessions.validate(HASH, NOW)
    await other.sessions.end([HASH])

    assert seen == CacheAnswer(b"a session", NOW + IDLE, False)
    assert await cache.sessions.validate(HASH, NOW) is ENDED
    await other.close()


async def test_a_dump_holds_only_hashes(cache: CacheStores, inside: redis.Redis) -> None:
    """Who reads the whole server finds no token: keys are made of the hash alone."""
    token = "ats_this-would-be-a-token"
    digest = hashlib.sha256(token.encode()).digest()
    await cache.sessions.add(digest, cached(), NOW)
    await cache.sessions.validate(digest, NOW + 10 * MINUTE)

    dump = b"".join([key + (await inside.get(key) or b"") async for key in inside.scan_iter()])

    assert digest.hex().encode() in dump
    assert token.encode() not in dump


async def test_long_profiles_fit(cache: CacheStores) -> None:
    """Deadlines of months and a clock at zero are kept to the millisecond."""
    record = CachedSession(
        b"", idle_expires_at=14 * DAY, idle_ms=14 * DAY, expires_at=90 * DAY + 1, flushed_at=0
    )
    await cache.sessions.add(HASH, record, 0)

    answers = [await cache.sessions.validate(HASH, day * DAY) for day in (0, 13, 26, 39, 52, 65, 78, 89)]

    assert isinstance(answers[0], CacheAnswer)
    assert isinstance(answers[-1], CacheAnswer)
    assert answers[-1].idle_expires_at == 90 * DAY + 1


async def test_looks_at_the_cap_do_not_write(cache: CacheStores, inside: redis.Redis) -> None:
    """A deadline that cannot move is not written again and again."""
    await cache.sessions.add(HASH, cached(absolute_ms=IDLE), NOW)
    before = await writes(inside)

    for second in range(100):
        await cache.sessions.validate(HASH, NOW + second * SECOND)

    assert await writes(inside) == before
