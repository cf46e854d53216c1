"""`authsvc migrate`, on each kind of database."""

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor

from authsvc.stores.migrations import is_at_head
from tests.parts import processes


def test_migrating_again_changes_nothing(empty_database_url: str) -> None:
    """The database's address is all that `migrate` needs; what is done already is not done again."""
    first = processes.run("migrate", "--json", DATABASE_URL=empty_database_url)
    second = processes.run("migrate", "--json", DATABASE_URL=empty_database_url)

    assert (first.returncode, second.returncode) == (0, 0)
    assert [json.loads(each.stdout)["changed"] for each in (first, second)] == [True, False]


def test_many_may_migrate_at_once(empty_database_url: str) -> None:
    """Of several hosts that migrate at the same time none fails."""
    with ThreadPoolExecutor() as pool:
        ended = list(pool.map(lambda _: processes.run("migrate", DATABASE_URL=empty_database_url), range(3)))

    assert [each.returncode for each in ended] == [0, 0, 0], [each.stderr for each in ended]
    assert asyncio.run(is_at_head(empty_database_url))


def test_a_database_that_does_not_answer_is_status_3() -> None:
    """`migrate` says that the database did not answer, and does not repeat its password."""
    ended = processes.run("migrate", DATABASE_URL="postgresql://me:hidden-password@127.0.0.1:1/authsvc")

    assert ended.returncode == 3
    assert ended.stderr.startswith("authsvc: the database did not answer")
    assert "hidden-password" not in ended.stderr


def test_other_settings_do_not_stand_in_the_way() -> None:
    """`migrate` reads no secret that it does not need, but a misspelt name is a mistake for every command."""
    ended = processes.run(
        "migrate",
        DATABASE_URL="postgresql://127.0.0.1:1/authsvc",
        SECRET_KEYS_FILE="/no/such/file",
        ISUER="x",
    )

    assert ended.returncode == 2
    assert ended.stderr == (
        "authsvc: the settings cannot be used:\n  - AUTHSVC_ISUER is no setting of this version\n"
    )
