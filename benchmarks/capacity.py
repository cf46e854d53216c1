"""Owns the tables of docs/capacity.md: what measured unit costs mean for so many users.

`python -m benchmarks.capacity` writes them from results/latest.json; a full `make bench` does it, too.

Everything that is assumed is in `Habits` and `Hardware`, and stands in the document. No number is typed in there.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results" / "latest.json"
DOCUMENT = Path(__file__).parent.parent / "docs" / "capacity.md"
USERS = (1_000_000, 10_000_000, 100_000_000, 1_000_000_000)

_DAY = 86_400
_GIB = 2.0**30


@dataclass(frozen=True, slots=True)
class Habits:
    """What users do; half of all sessions are browsers' (cookies), half apps' (JWTs), and all requests go to services
    that verify locally what the edge hands them."""

    active_daily: float = 0.3
    """Share of all users that is there on a day."""
    logins: float = 0.5
    """By an active user, a day; the others are still logged in."""
    logouts: float = 0.2
    refreshes: float = 12.0
    """Of an app: an hour of use a day, at an access token each five minutes. Half of the active users."""
    requests: float = 200.0
    hops: float = 3.0
    """Services that each request passes, each of which verifies."""
    sessions_kept: float = 2.5
    """Rows on record for each user, live and lately ended."""
    sessions_cached: float = 0.3
    """In the cache at once, for each user: those used lately."""
    entry_hours: float = 12.0
    """How long an entry of the revocation log lives: until the session token would have expired."""
    events_kept: float = 365.0
    """Days."""
    peak: float = 3.0
    """The busiest minute against the mean."""


@dataclass(frozen=True, slots=True)
class Hardware:
    """What it runs on. Half of everything is left free, for failures and for growth."""

    used: float = 0.5
    cores: int = 8
    """Of an instance, one worker each."""
    shard_gib: float = 16.0
    """Of memory in a Valkey primary."""
    verifier_gib: float = 0.5
    """Of memory that a service has to spare for its view of revocations."""


@dataclass(frozen=True, slots=True)
class Costs:
    """CPU in seconds, rates a second, bytes: as measured."""

    login: float
    refresh: float
    revoke: float
    validate: float
    verify_cold: float
    verify_warm: float
    valkey_validate: float
    log_rate: float
    user_bytes: float
    session_bytes: float
    event_bytes: float
    cached_bytes: float
    view_bytes: float


@dataclass(frozen=True, slots=True)
class Need:
    """What so many users need, at the busiest minute."""

    users: int
    logins: float
    refreshes: float
    validations: float
    verifications: float
    revocations: float
    cores: float
    instances: int
    shards: int
    sql_gib: float
    entries: float
    view_gib: float
    verifier_cores: float
    deployments: int


def read_costs(results: Path = RESULTS) -> Costs:
    """Return the unit costs of a run. Raises KeyError if it was of a part only."""
    rows: dict[str, Mapping[str, Any]] = {row["name"]: row for row in json.loads(results.read_text())["rows"]}

    def cpu(name: str) -> float:
        return float(rows[name]["cpu_us"]) / 1e6

    sizes = rows["sizes"]
    return Costs(
        login=cpu("login"),
        refresh=cpu("refresh_postgres"),
        revoke=cpu("revoke_postgres"),
        validate=cpu("batch_validate_16"),
        verify_cold=cpu("local_verify_cold"),
        verify_warm=cpu("local_verify_warm"),
        valkey_validate=float(rows["batch_validate_16"]["valkey_us"]) / 1e6,
        log_rate=float(rows["revoke_postgres"]["rate"]),
        user_bytes=float(sizes["user_bytes"]),
        session_bytes=float(sizes["session_bytes"]),
        event_bytes=float(sizes["event_bytes"]),
        cached_bytes=float(sizes["cached_session_bytes"]),
        view_bytes=float(rows["view_million"]["bytes_per_entry"]),
    )


HABITS, HARDWARE = Habits(), Hardware()


def need(users: int, costs: Costs, habits: Habits = HABITS, hardware: Hardware = HARDWARE) -> Need:
    """Return what so many users need."""
    active, second = users * habits.active_daily, habits.peak / _DAY
    logins, revocations = active * habits.logins * second, active * habits.logouts * second
    refreshes = active / 2 * habits.refreshes * second
    validations = active / 2 * habits.requests * second
    verifications = active * habits.requests * habits.hops * second
    cores = (
        logins * costs.login
        + refreshes * costs.refresh
        + revocations * costs.revoke
        + validations * costs.validate
    ) / hardware.used
    cached = users * habits.sessions_cached * costs.cached_bytes
    shards = max(cached / (hardware.shard_gib * _GIB), validations * costs.valkey_validate) / hardware.used
    events = active * (habits.logins + habits.logouts + habits.refreshes / 2) * habits.events_kept
    entries = revocations / habits.peak * habits.entry_hours * 3_600
    # A service sees a token for the first time once in its five minutes, and then again and again.
    new = active / 2 * (habits.refreshes + habits.requests / 10) * habits.hops * second
    return Need(
        users=users,
        logins=logins,
        refreshes=refreshes,
        validations=validations,
        verifications=verifications,
        revocations=revocations,
        cores=cores,
        instances=max(2, ceil(cores / hardware.cores)),
        shards=max(1, ceil(shards)),
        sql_gib=(
            users * (costs.user_bytes + habits.sessions_kept * costs.session_bytes)
            + events * costs.event_bytes
        )
        / _GIB,
        entries=entries,
        view_gib=entries * costs.view_bytes / _GIB,
        verifier_cores=(new * costs.verify_cold + verifications * costs.verify_warm) / hardware.used,
        deployments=max(
            1,
            ceil(revocations / (costs.log_rate * hardware.used)),
            ceil(entries * costs.view_bytes / _GIB / hardware.verifier_gib),
        ),
    )


def tables(costs: Costs) -> dict[str, str]:
    """Return the document's tables by their names."""
    return {"costs": "\n".join(_cost_rows(costs)), "needs": "\n".join(_need_rows(costs))}


def write(results: Path = RESULTS, document: Path = DOCUMENT) -> None:
    """Put the tables where the document has them. Raises KeyError as `read_costs` does."""
    document.write_text(filled(document.read_text(), tables(read_costs(results))))


def filled(text: str, found: Mapping[str, str]) -> str:
    """The text with each table between its markers, `<!-- name -->` and `<!-- end -->`."""
    for name, table in found.items():
        between = re.compile(rf"(<!-- {name} -->\n).*?(<!-- end -->)", re.DOTALL)
        text = between.sub(lambda match, table=table: f"{match[1]}{table}\n{match[2]}", text)  # type: ignore[misc]
    return text


def _cost_rows(costs: Costs) -> Iterator[str]:
    yield "| one | costs |\n|---|---|"
    for what, seconds in (
        ("Login", costs.login),
        ("Refresh", costs.refresh),
        ("Revoke", costs.revoke),
        ("session validated, in batches of 16", costs.validate),
        ("the same, at Valkey", costs.valkey_validate),
        ("JWT verified at a service for the first time", costs.verify_cold),
        ("JWT verified again", costs.verify_warm),
    ):
        yield f"| {what} | {_short(seconds * 1e6)} µs of CPU |"
    yield f"| revocations in a row, one database | {_short(costs.log_rate)} a second |"
    for what, size in (
        ("user in SQL", costs.user_bytes),
        ("session in SQL, its indexes included", costs.session_bytes),
        ("audit event in SQL", costs.event_bytes),
        ("session in Valkey", costs.cached_bytes),
        ("revocation in a verifier's view", costs.view_bytes),
    ):
        yield f"| {what} | {_short(size)} bytes |"


def _need_rows(costs: Costs) -> Iterator[str]:
    needs = [need(users, costs) for users in USERS]
    yield "| users | " + " | ".join(f"{each.users:,}" for each in needs) + " |"
    yield "|---" * (len(needs) + 1) + "|"
    for what, values in (
        ("logins a second", [each.logins for each in needs]),
        ("refreshes a second", [each.refreshes for each in needs]),
        ("sessions validated a second", [each.validations for each in needs]),
        ("JWTs verified a second, at services", [each.verifications for each in needs]),
        ("revocations a second", [each.revocations for each in needs]),
        ("cores for authsvc", [each.cores for each in needs]),
        ("**instances** of 8 workers", [each.instances for each in needs]),
        ("**shards** of Valkey, 16 GiB each", [each.shards for each in needs]),
        ("GiB in SQL, a year of audit events included", [each.sql_gib for each in needs]),
        ("revocations in force", [each.entries for each in needs]),
        ("GiB of each **verifier**'s view, if all were one deployment", [each.view_gib for each in needs]),
        ("cores that verifying takes, at all services together", [each.verifier_cores for each in needs]),
        ("**deployments** to split the users over", [each.deployments for each in needs]),
    ):
        yield f"| {what} | " + " | ".join(map(_short, values)) + " |"


def _short(value: float) -> str:
    """Two or three digits are more than such an estimate is good for."""
    if value >= 1_000:
        return f"{float(f'{value:.2g}'):,.0f}"
    return f"{value:.3g}" if value < 100 or value != int(value) else f"{value:.0f}"


if __name__ == "__main__":
    write()
