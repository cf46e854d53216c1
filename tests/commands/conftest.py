"""Owns a deployment to run commands against: its settings, and a server with a first administrator."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from authsvc.stores.embedded import EmbeddedValkey
from authsvc.stores.migrations import upgrade_to_head
from tests.parts import processes
from tests.parts.processes import Serving


@pytest.fixture
def settings(tmp_path: Path, sqlite_url: str, valkey: EmbeddedValkey) -> dict[str, str]:
    """Settings of a server of this test's own, on an empty database."""
    return processes.settings_of(tmp_path, sqlite_url, valkey.url)


@dataclass(frozen=True)
class Deployment:
    """A running server, and the settings that administer it."""

    serving: Serving
    admin: dict[str, str]
    server: dict[str, str]


@pytest.fixture(scope="module")
def deployment(
    tmp_path_factory: pytest.TempPathFactory, shared_valkey: EmbeddedValkey
) -> Iterator[Deployment]:
    """One server for all tests of a module. Each uses names of its own."""
    directory = tmp_path_factory.mktemp("deployment")
    database_url = f"sqlite:///{directory}/authsvc.db"
    asyncio.run(upgrade_to_head(database_url))
    settings = processes.settings_of(directory, database_url, shared_valkey.url)
    key_file = directory / "admin.key"
    created = processes.run(
        *("client", "create", "admin", "--permission", "admin", "--offline", "--key-file", str(key_file)),
        **processes.offline(settings),
    )
    assert created.returncode == 0, created.stderr
    with processes.serve(**settings) as serving:
        admin = {"ADDRESS": serving.address, "PLAINTEXT": "true", "CLIENT_KEY_FILE": str(key_file)}
        yield Deployment(serving, admin, settings)
