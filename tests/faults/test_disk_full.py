"""A disk without room: what cannot be written is not acknowledged, what is known goes on, and room is all it takes.

PostgreSQL runs on a small disk of its own, which only root can make: skipped elsewhere. SQLite runs in an instance
whose files may not grow any further, which the system says in the same words.
"""

import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from authsvc.stores.embedded import EmbeddedValkey
from tests.faults.asking import NOT_NOW, allowed
from tests.faults.calling import said
from tests.parts import processes
from tests.parts.fleet import Caller
from tests.parts.postgres import Postgres
from tests.parts.service import Service, run_service
from tests.parts.valkey import until

_DISK = "160m"


@pytest.fixture
def small_disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A disk of its own, small, where temporary directories are made."""
    place = Path(tempfile.mkdtemp(prefix="authsvc-disk-"))
    mount = ["mount", "-t", "tmpfs", "-o", f"size={_DISK},mode=755", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode:
        place.rmdir()
        pytest.skip("only root can mount a small disk, and not everywhere")
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    yield place
    monkeypatch.undo()
    subprocess.run(["umount", "-l", str(place)], check=True)
    place.rmdir()


@pytest.fixture
def postgres_on_small_disk(small_disk: Path) -> Iterator[Postgres]:
    """A server whose data are there."""
    server = Postgres({"min_wal_size": "32MB", "max_wal_size": "64MB"})
    server.start()
    yield server
    server.remove()


@pytest.fixture
async def service(postgres_on_small_disk: Postgres, valkey: EmbeddedValkey) -> AsyncIterator[Service]:
    """An instance over that server."""
    url = postgres_on_small_disk.url(await postgres_on_small_disk.empty_migrated())
    async with run_service(url, valkey.url) as running:
        yield running


def fill(disk: Path) -> Path:
    """Leave no room; return what takes it."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        for size in (2**20, 4096):
            with suppress(OSError):
                while True:
                    file.write(bytes(size))
    assert shutil.disk_usage(disk).free == 0
    return ballast


async def test_postgres(service: Service, small_disk: Path, postgres_on_small_disk: Postgres) -> None:
    """With no room for its log PostgreSQL stops: nothing is acknowledged, cached sessions go on. Given room and started
    again, everything acknowledged is there, and nothing else."""
    kept, renewed = await service.login(), await service.login()
    await service.validate(kept.session_token)
    ballast = fill(small_disk)

    told = set()
    while NOT_NOW not in told:  # what is left of the log's present file is still written to
        await postgres_on_small_disk.execute("SELECT pg_switch_wal()")
        with_room = await said(service.login("alice"))
        told.add(with_room)
    refused = [
        await said(service.refresh(renewed.tokens.refresh_token)),
        await said(service.revoke(token=kept.session_token)),
    ]
    known = await said(service.validate(kept.session_token))
    ballast.unlink()
    postgres_on_small_disk.stop(signal.SIGQUIT)
    postgres_on_small_disk.start()

    async def logs_in() -> bool:
        return await said(service.login("alice")) == "OK"

    await until(logs_in, within_s=allowed(2.0))
    assert (refused, known) == ([NOT_NOW] * 2, "OK")
    assert not (await service.refresh(renewed.tokens.refresh_token)).replayed
    assert (await service.revoke(token=kept.session_token)).revoked_count == 1


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits the files of a running process")
async def test_sqlite(sqlite_url: str, valkey: EmbeddedValkey, tmp_path: Path) -> None:
    """When its file cannot grow SQLite refuses what would change something: that is not acknowledged, cached sessions
    go on, and with room all is well again, without a restart."""
    settings = processes.settings_of(tmp_path, sqlite_url, valkey.url)
    key = processes.run(
        *(
            "client",
            "create",
            "all",
            "--permission",
            "login",
            "--permission",
            "introspect",
            "--permission",
            "admin",
        ),
        *("--audience", "orders", "--offline"),
        **processes.offline(settings),
    ).stdout.strip()
    with processes.serve(**settings) as serving:
        process = psutil.Process(serving.process.pid)
        caller = Caller(serving.address, key)
        await caller.sign_up("alice")
        await caller.validate()

        process.rlimit(resource.RLIMIT_FSIZE, (1, resource.RLIM_INFINITY))
        refused = [await said(caller.refresh()), await said(caller.login_and_out())]
        known = await said(caller.validate())
        process.rlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))

        async def refreshes() -> bool:
            return await said(caller.refresh()) == "OK"

        await until(refreshes, within_s=allowed(2.0))
        await caller.channel.close()
    assert (refused, known) == ([NOT_NOW] * 2, "OK")
