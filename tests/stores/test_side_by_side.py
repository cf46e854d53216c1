"""Instances of two versions on one database: steps of the schema only add, and a later schema serves this version."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from alembic import command
from sqlalchemy import Connection, Engine, create_engine, inspect, text

from authsvc.commands.failure import CommandFailed
from authsvc.commands.schema import check_schema
from authsvc.core.clock import DAY
from authsvc.stores.embedded import EmbeddedValkey
from authsvc.stores.migrations import SchemaState, schema_state, upgrade_to_head
from authsvc.stores.migrations.state import CONTRACTED
from authsvc.stores.migrations.upgrade import _config, scripts
from authsvc.stores.sql import address, open_stores
from tests.parts.service import outcome, run_service

STEPS = [step.revision for step in scripts().walk_revisions()][::-1]


@contextmanager
def plainly(url: str) -> Iterator[Connection]:
    """A plain connection to a SQLite file, in a transaction."""
    engine: Engine = create_engine(url)
    with engine.begin() as connection:
        yield connection
    engine.dispose()


def take_step(url: str, step: str) -> dict[str, Any]:
    """Bring a database up to a step; return what its tables then ask of those who write to them."""
    config = _config()
    with plainly(url) as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, step)
        found = inspect(connection)
        tables = [name for name in found.get_table_names() if name != "alembic_version"]
        return {name: _asked(found, name) for name in tables}


def _asked(found: Any, table: str) -> dict[str, Any]:
    columns = {column["name"]: column for column in found.get_columns(table)}
    unique = [each["column_names"] for each in found.get_unique_constraints(table)]
    unique += [each["column_names"] for each in found.get_indexes(table) if each["unique"]]
    return {
        "types": {name: str(column["type"]) for name, column in columns.items()},
        "free": {name for name, column in columns.items() if column["nullable"] or column["default"]},
        "rules": {
            *(("unique", *names) for names in unique),
            *(("check", each["sqltext"]) for each in found.get_check_constraints(table)),
            *(("key", *each["constrained_columns"]) for each in found.get_foreign_keys(table)),
        },
    }


def takes_away(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """What those who know the tables as they were can no longer do."""
    wrong = [f"{name} is gone" for name in before.keys() - after.keys()]
    for name in before.keys() & after.keys():
        old, new = before[name], after[name]
        kept = {column: new["types"].get(column) for column in old["types"]}
        added = new["types"].keys() - old["types"].keys()
        wrong += [
            f"{name}.{column} is another" for column, kind in old["types"].items() if kept[column] != kind
        ]
        wrong += [f"{name}.{column} has to be given" for column in (old["free"] | added) - new["free"]]
        # A rule about what is new binds nobody who does not know of it.
        rules = [rule for rule in new["rules"] - old["rules"] if not any(each in str(rule) for each in added)]
        wrong += [f"{name}: a new rule, {rule}" for rule in rules]
    return wrong


def test_steps_only_add(empty_sqlite_url: str) -> None:
    """No step takes away what the version before it needs, but those that are counted in CONTRACTED."""
    tables, contracting = take_step(empty_sqlite_url, STEPS[0]), {}
    for step in STEPS[1:]:
        before, tables = tables, take_step(empty_sqlite_url, step)
        if wrong := takes_away(before, tables):
            contracting[step] = wrong

    assert len(contracting) == CONTRACTED, contracting


def test_what_taking_away_is(empty_sqlite_url: str) -> None:
    """The test above would see a column gone, one that has to be given, a new rule, and a table gone."""
    before = take_step(empty_sqlite_url, "head")
    with plainly(empty_sqlite_url) as connection:
        connection.execute(text("ALTER TABLE users DROP COLUMN disabled_at"))
        connection.execute(text("CREATE UNIQUE INDEX one_name ON clients (display_name)"))
        connection.execute(text("DROP TABLE audit_events"))
        connection.execute(text("DROP TABLE client_keys"))
        connection.execute(text("CREATE TABLE client_keys (key_hash BLOB NOT NULL, more TEXT NOT NULL)"))

    wrong = takes_away(before, take_step(empty_sqlite_url, "head"))

    assert "audit_events is gone" in wrong
    assert "users.disabled_at is another" in wrong
    assert "client_keys.more has to be given" in wrong
    assert "clients: a new rule, ('unique', 'display_name')" in wrong


async def _add_steps(url: str, contracted: int) -> None:
    """Make a database, and do to it what the steps of some later version may do."""
    await upgrade_to_head(url)
    stores = open_stores(url)
    async with stores.database.write() as transaction:
        for table in ("users", "clients", "sessions", "revocations", "audit_events", "signing_keys"):
            await transaction.run(text(f"ALTER TABLE {table} ADD COLUMN later TEXT"))
            await transaction.run(text(f"ALTER TABLE {table} ADD COLUMN later_too BIGINT NOT NULL DEFAULT 0"))
        await transaction.run(text("CREATE TABLE later (id BIGINT PRIMARY KEY)"))
        await transaction.run(text(f"UPDATE deployment SET contracted = {contracted}"))
        await transaction.run(text("UPDATE alembic_version SET version_num = 'of later'"))
    await stores.close()


async def test_this_version_on_a_later_schema(empty_database_url: str, valkey: EmbeddedValkey) -> None:
    """An instance starts on the schema of a later version and does all its work there."""
    await _add_steps(empty_database_url, CONTRACTED)

    await check_schema(empty_database_url)

    assert await schema_state(empty_database_url) is SchemaState.NEWER
    async with run_service(empty_database_url, valkey.url, session_retention=DAY) as service:
        login = await service.login()
        refreshed = await service.refresh(login.tokens.refresh_token)
        validated = await service.validate(login.session_token)
        await service.revoke(token=refreshed.tokens.refresh_token)
        await service.app._housekeeping.round()

        assert validated.session.id == login.session.id
        assert await outcome(service.validate(login.session_token)) == "SESSION_NOT_ACTIVE"
        assert service.app._housekeeping.finished_at


async def test_a_schema_that_this_version_cannot_live_with(empty_database_url: str) -> None:
    """An instance does not start on a schema that has taken away what it needs, and says what to do."""
    await _add_steps(empty_database_url, CONTRACTED + 1)

    with pytest.raises(CommandFailed, match="newer version"):
        await check_schema(empty_database_url)


async def test_an_earlier_schema_is_to_be_migrated(empty_sqlite_url: str) -> None:
    """An instance does not start on the schema of the step before, and says what to do; after that it does."""
    take_step(empty_sqlite_url, STEPS[-2])

    with pytest.raises(CommandFailed, match="run `authsvc migrate` first"):
        await check_schema(empty_sqlite_url)
    await upgrade_to_head(empty_sqlite_url)
    await check_schema(empty_sqlite_url)

    assert address.file(address.parse(empty_sqlite_url)).exists()
