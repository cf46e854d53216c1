"""The server of our own: closed to others, and never left behind."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from authsvc.stores.embedded import EmbeddedValkey
from tests.parts.valkey import until


def contents(directory: Path) -> list[bytes]:
    """What is in all files below."""
    return [path.read_bytes() for path in directory.rglob("*") if path.is_file()]


async def test_password_is_in_no_argument_and_no_file(own_valkey: EmbeddedValkey, tmp_path: Path) -> None:
    """The random password is neither in a command line, nor in the environment, nor on disk."""
    password = own_valkey.url.partition("redis://:")[2].partition("@")[0]
    process = psutil.Process(own_valkey.pid)

    seen = [*process.cmdline(), *process.environ().values(), repr(own_valkey)]
    files = contents(tmp_path)

    assert len(password) >= 32
    assert password not in " ".join(seen)
    assert password.encode() not in b"".join(files)


async def test_only_who_knows_the_password_gets_in(own_valkey: EmbeddedValkey) -> None:
    """Other users of the machine can reach the port, but nothing behind it."""
    with (
        redis.Redis(port=own_valkey.port, retry=Retry(NoBackoff(), 0)) as stranger,
        pytest.raises(redis.AuthenticationError),
    ):
        stranger.ping()


async def test_it_keeps_nothing_and_evicts_nothing(own_valkey: EmbeddedValkey) -> None:
    """No snapshot, no append-only file, no eviction, on loopback only."""
    with redis.Redis.from_url(own_valkey.url, decode_responses=True) as client:
        settings = client.config_get("save", "appendonly", "maxmemory-policy", "bind")

    expected = {"save": "", "appendonly": "no", "maxmemory-policy": "noeviction", "bind": "127.0.0.1"}
    assert settings == expected


async def test_started_again_it_is_another_process_at_the_same_place(own_valkey: EmbeddedValkey) -> None:
    """A restart keeps the URL and nothing else."""
    url, pid = own_valkey.url, own_valkey.pid
    with redis.Redis.from_url(url) as client:
        client.set("key", "value")

    await own_valkey.stop()
    await own_valkey.start()

    assert own_valkey.url == url
    assert own_valkey.pid != pid
    with redis.Redis.from_url(url) as client:
        assert client.dbsize() == 0


async def test_two_do_not_meet(own_valkey: EmbeddedValkey, tmp_path: Path) -> None:
    """Servers of two checkouts, even with a space in the path, have ports and passwords of their own."""
    other = EmbeddedValkey(tmp_path / "another checkout")
    await other.start()

    assert other.port != own_valkey.port
    assert other.url != own_valkey.url
    await other.stop()


async def test_a_server_that_cannot_start_is_an_error(tmp_path: Path) -> None:
    """A bad setting is reported with the place of the log, not waited for."""
    server = EmbeddedValkey(tmp_path, {"no-such-setting": "1"})

    with pytest.raises(RuntimeError, match=r"valkey\.log"):
        await server.start()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a child with its parent")
async def test_it_does_not_outlive_us(tmp_path: Path) -> None:
    """If our process is killed outright, its server is gone soon after."""
    program = (
        "import asyncio, pathlib, sys, time\n"
        "from authsvc.stores.embedded import EmbeddedValkey\n"
        "server = EmbeddedValkey(pathlib.Path(sys.argv[1]))\n"
        "asyncio.run(server.start())\n"
        "print(server.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path.cwd()) as owner:  # noqa: ASYNC220
        assert owner.stdout is not None
        pid = int(owner.stdout.readline())
        assert psutil.pid_exists(pid)

        os.kill(owner.pid, signal.SIGKILL)

        async def gone() -> bool:
            return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE

        await until(gone, within_s=2)
