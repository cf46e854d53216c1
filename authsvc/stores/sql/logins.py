"""Owns what a login reads and writes before there is a session: the user, and failures that outlive the cache.

Each change of a counter is one statement, so that attempts made at the same time are all counted. A counter that has
been quiet for long begins anew; then its row may go.
"""

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Integer,
    LargeBinary,
    and_,
    bindparam,
    case,
    delete,
    func,
    literal,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import insert  # the same words on SQLite

from authsvc.core.clock import SECOND
from authsvc.core.login_contract import NO_FAILURES, FailureLimits, Failures, ThrottleKey
from authsvc.core.model import AuditEvent, UserSecret
from authsvc.stores.sql.compiled import Values
from authsvc.stores.sql.database import Database
from authsvc.stores.sql.rows import USER_COLUMNS, storable, user
from authsvc.stores.sql.schema import login_failures, users

Number = ColumnElement[int]

_row = login_failures.c
_WIDTH = len(USER_COLUMNS)
_counter = bindparam("counter", type_=LargeBinary(16))
_now = bindparam("now", type_=BigInteger)
_FIRST_STEP = literal(SECOND, BigInteger)

# One row, whether or not there is a user and a counter.
_one = select(literal(1).label("one")).subquery()
_GET = select(*USER_COLUMNS, users.c.password_hash, *_row).select_from(
    _one.outerjoin(users, users.c.username_key == bindparam("key")).outerjoin(
        login_failures, _row.counter == _counter
    )
)


def _given(kind: str, name: str) -> Number:
    """A limit, by name: of the `recent` or the `daily` failures."""
    return bindparam(f"{kind}_{name}", type_=BigInteger)


def _count(kind: str) -> Number:
    """How many failures there are with this one."""
    return case((_row[f"{kind}_until"] <= _now, 1), else_=_row[kind] + 1)


def _wait(kind: str) -> Number:
    """How long this failure makes everybody wait: nothing below the limit, then 1 s, doubling, up to the longest."""
    over = _count(kind) - _given(kind, "limit")
    doubled = _FIRST_STEP.bitwise_lshift(func.coalesce(over, 0).cast(Integer))
    return case((over < 0, 0), (over >= _given(kind, "doublings"), _given(kind, "longest")), else_=doubled)


def _until(kind: str) -> Number:
    """When these failures are forgotten: a window after the first; at the limit, a window after the wait."""
    begins = case((_row[f"{kind}_until"] <= _now, _now), else_=_row[f"{kind}_until"] - _given(kind, "window"))
    at_limit = _count(kind) >= _given(kind, "limit")
    return case((at_limit, _now + _wait(kind)), else_=begins) + _given(kind, "window")


def _longer(one: Number, other: Number) -> Number:
    return case((one > other, one), else_=other)


_blocked_for = _longer(_wait("recent"), _wait("daily"))
_ONE_MORE = {
    "recent": _count("recent"),
    "recent_until": _until("recent"),
    "daily": _count("daily"),
    "daily_until": _until("daily"),
    "blocked_until": case((_blocked_for > 0, _now + _blocked_for), else_=0),
}
_FIRST = insert(login_failures).values(
    counter=_counter,
    recent=1,
    recent_until=_now + _given("recent", "window"),
    daily=1,
    daily_until=_now + _given("daily", "window"),
    blocked_until=0,
)
_FAIL = _FIRST.on_conflict_do_update(index_elements=[_row.counter], set_=_ONE_MORE).returning(_row.recent)
_TAKE = (
    update(login_failures)
    .where(_row.counter == _counter, _row.blocked_until <= _now)
    .values(_ONE_MORE)
    .returning(_row.recent)
)


def _less(kind: str) -> Number:
    times = bindparam("times", type_=BigInteger)
    return case((_row[kind] > times, _row[kind] - times), else_=0)


_below_limits = and_(*(_less(kind) < _given(kind, "limit") for kind in ("recent", "daily")))
_FORGIVE = (
    update(login_failures)
    .where(_row.counter == _counter)
    .values(
        recent=_less("recent"),
        daily=_less("daily"),
        blocked_until=case((_below_limits, 0), else_=_row.blocked_until),
    )
    .returning(_row.recent)
)
_due = _row.daily_until < bindparam("before_at", type_=BigInteger)
_oldest = (
    select(_row.counter)
    .where(_due)
    .order_by(_row.daily_until)
    .limit(bindparam("limit", type_=Integer))
    .with_for_update(skip_locked=True)  # SQLite, with one writer at a time, leaves it out.
)
_FORGET = delete(login_failures).where(_row.counter.in_(_oldest), _due).returning(_row.recent)
_COUNT = select(func.count()).select_from(
    select(_row.counter).where(_due).limit(bindparam("limit", type_=Integer)).subquery()
)


class LoginStore:
    """core.login_contract.LoginStore, and forgetting what is old."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, username_key: str, counter: bytes, now: int) -> tuple[UserSecret | None, Failures]:
        """Return the user, disabled or not, and the failures on record, in one round trip."""
        found = await self._database.read(_GET, {"key": storable(username_key), "counter": counter})
        row = found[0]
        secret = UserSecret(user(row), row[_WIDTH]) if row[0] is not None else None
        return secret, _failures(*row[_WIDTH + 1 :], now=now)

    async def fail(self, counter: bytes, limits: FailureLimits, now: int, audit: AuditEvent) -> None:
        """Count one failure, whatever is counted at the same time, and write the event."""
        await self._database.change(_FAIL, {"counter": counter, "now": now, **_values(limits)}, audit)

    async def take(self, counter: bytes, limits: FailureLimits, now: int) -> bool:
        """Count one failure unless there is a block."""
        return bool(await self._database.change(_TAKE, {"counter": counter, "now": now, **_values(limits)}))

    async def forgive(self, counter: bytes, limits: FailureLimits, times: int) -> None:
        """Take so many failures back."""
        values = {
            "counter": counter,
            "times": times,
            "recent_limit": limits.recent.limit,
            "daily_limit": limits.daily.limit,
        }
        await self._database.change(_FORGIVE, values)

    async def forget(self, before_at: int, limit: int) -> int:
        """Delete at most `limit` counters that were to be forgotten before then; return how many."""
        return len(await self._database.change(_FORGET, {"before_at": before_at, "limit": limit}))

    async def count(self, before_at: int, limit: int) -> int:
        """Count counters that were to be forgotten before then, up to `limit`."""
        rows = await self._database.read(_COUNT, {"before_at": before_at, "limit": limit})
        return int(rows[0][0])


def _failures(
    counter: bytes | None,
    recent: int,
    recent_until: int,
    daily: int,
    daily_until: int,
    blocked_until: int,
    *,
    now: int,
) -> Failures:
    if counter is None:
        return NO_FAILURES
    return Failures(recent if now < recent_until else 0, daily if now < daily_until else 0, blocked_until)


def _values(limits: FailureLimits) -> Values:
    return {
        f"{kind}_{name}": value
        for kind, key in (("recent", limits.recent), ("daily", limits.daily))
        for name, value in _numbers(key).items()
    }


def _numbers(key: ThrottleKey) -> dict[str, int]:
    doublings = next(times for times in range(40) if SECOND << times >= key.longest_ms)
    return {"limit": key.limit, "window": key.window_ms, "longest": key.longest_ms, "doublings": doublings}
