"""The first administrator: registered in the database, without a server."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path

from tests.parts import processes

_CREATE = ("client", "create", "admin", "--permission", "admin", "--offline")


def _audited(database_url: str) -> list[tuple[str, str, str]]:
    with closing(sqlite3.connect(database_url.removeprefix("sqlite:///"))) as connection:
        return connection.execute("SELECT event, actor, client_id FROM audit_events ORDER BY id").fetchall()


def test_the_first_administrator_needs_no_server(settings: dict[str, str]) -> None:
    """With the database and the secrets alone a key is made, shown once, that a server started later believes."""
    created = processes.run(*_CREATE, **processes.offline(settings))
    key = created.stdout.strip()

    with processes.serve(**settings) as serving:
        listed = processes.run(
            "client", "list", "--json", ADDRESS=serving.address, PLAINTEXT="true", CLIENT_KEY=key
        )

    assert created.returncode == 0, created.stderr
    assert key not in created.stderr
    assert [client["id"] for client in json.loads(listed.stdout)["clients"]] == ["admin"]


def test_a_running_server_hears_of_it(settings: dict[str, str]) -> None:
    """A key that is made beside a running server is believed by it at once."""
    with processes.serve(**settings) as serving:
        address = serving.address
        key = processes.run(*_CREATE, **processes.offline(settings)).stdout.strip()

        listed = processes.run("client", "list", ADDRESS=address, PLAINTEXT="true", CLIENT_KEY=key)

        assert listed.returncode == 0, listed.stderr


def test_the_key_can_go_to_a_file(settings: dict[str, str], tmp_path: Path) -> None:
    """With --key-file the key is in the file, readable by its owner alone, and nowhere else."""
    key_file = tmp_path / "admin.key"

    created = processes.run(*_CREATE, "--key-file", str(key_file), **processes.offline(settings))

    assert created.returncode == 0, created.stderr
    assert key_file.read_text().startswith("atc_")
    assert key_file.stat().st_mode & 0o777 == 0o600
    assert "atc_" not in created.stdout + created.stderr


def test_the_rules_are_a_servers(settings: dict[str, str]) -> None:
    """Offline, too, an id is taken only once, permissions are checked, and the audit log says who it was."""
    first = processes.run(*_CREATE, **processes.offline(settings))
    second = processes.run(*_CREATE, **processes.offline(settings))
    bad = processes.run(
        "client", "create", "web", "--permission", "login", "--offline", **processes.offline(settings)
    )

    assert (first.returncode, second.returncode, bad.returncode) == (0, 1, 1)
    assert second.stderr == "authsvc: Another client has this id. (CLIENT_ID_TAKEN)\n"
    assert "audiences: must name at least one" in bad.stderr
    assert _audited(settings["DATABASE_URL"]) == [("client.created", "offline command", "admin")]


def test_what_is_missing_is_named(settings: dict[str, str], tmp_path: Path) -> None:
    """Without settings, or on a database without the schema, it says what to do."""
    unset = processes.run(*_CREATE)
    bare = processes.run(
        *_CREATE, **processes.offline(settings) | {"DATABASE_URL": f"sqlite:///{tmp_path}/new.db"}
    )

    assert (unset.returncode, bare.returncode) == (2, 1)
    assert "AUTHSVC_DATABASE_URL is missing" in unset.stderr
    assert "AUTHSVC_SECRET_KEYS_FILE is missing" in unset.stderr
    assert "run `authsvc migrate` first" in bare.stderr
