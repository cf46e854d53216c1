"""Owns `authsvc dev`: a whole deployment in one command, for trying and developing. Leaves the tour to `tour`.

A real Valkey from its wheel, SQLite, generated secrets and a demo user, all in one directory that belongs to this user
alone. Callers on this machine need no key here; nothing outside this machine can connect. Leaves pages to `dev_pages`.
"""

import asyncio
import fcntl
import json
import os
import secrets
import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

from pydantic import SecretBytes, SecretStr
from rich.console import Console

from authsvc import logs
from authsvc.app import AddressTaken, App, Development, open_app
from authsvc.commands.demo import Demo, prepare
from authsvc.commands.dev_pages import choose_port, origins, serve_pages
from authsvc.commands.tour import Place, take_tour
from authsvc.core.callers import Caller
from authsvc.core.model import Permission
from authsvc.outside import Outside
from authsvc.settings import Settings, is_local_address
from authsvc.stores.embedded import EmbeddedValkey
from authsvc.stores.migrations import upgrade_to_head

DEFAULT_LISTEN = "127.0.0.1:50051"
ISSUER = "https://authsvc.localhost"
_ANONYMOUS = Caller(frozenset({Permission.LOGIN, Permission.INTROSPECT}), "local")


class CannotStart(Exception):
    """The development server cannot start; the message says why."""


@dataclass(frozen=True, slots=True)
class DevFile:
    """What `dev.json` tells other programs. Holds secrets: mode 0600."""

    address: str
    issuer: str
    admin_key: str
    client_key: str
    username: str
    password: str
    cache_url: str
    database_url: str


def dev(listen: str | None, data: Path, tour: bool, once: bool) -> int:
    """Run the development server; return the exit status. With `once`, end after the tour: 0 if every step held."""
    console = Console(highlight=False)
    try:
        return asyncio.run(_dev(listen, data.resolve(), tour, once, console))
    except (CannotStart, AddressTaken) as error:
        Console(stderr=True, highlight=False).print(f"authsvc dev: {error}", style="red", markup=False)
        return 2


async def _dev(listen: str | None, data: Path, tour: bool, once: bool, console: Console) -> int:
    if listen is not None and not is_local_address(listen):
        raise CannotStart("--listen must be on loopback or a Unix socket: everybody there is let in")
    logs.configure_for_terminal()
    with _Directory(data):
        async with _running(listen, data) as (app, file):
            held = await take_tour(_place(file), console) if tour else True
            if once:
                return 0 if held else 1
            await _serve(app, file, data, console)
    return 0


@asynccontextmanager
async def _running(listen: str | None, data: Path) -> AsyncIterator[tuple[App, DevFile]]:
    valkey = EmbeddedValkey(data / "valkey")
    await valkey.start()
    try:
        url = f"sqlite:///{data}/authsvc.db"
        await upgrade_to_head(url)
        settings = _settings(data, url, valkey.url)
        app, demo = await _start(settings, listen, data)
        file = _write_file(data, app, demo)
        try:
            yield app, file
        finally:
            await app.stop()
    finally:
        await valkey.stop()


async def _start(settings: Settings, listen: str | None, data: Path) -> tuple[App, Demo]:
    """Start at the address asked for; without one, at the usual one, or if that is taken at any free one."""
    app, demo = await _open(settings.model_copy(update={"listen": listen or DEFAULT_LISTEN}), data)
    try:
        await app.start()
    except AddressTaken:
        await app.stop()
        if listen is not None:
            raise
        app, demo = await _open(settings.model_copy(update={"listen": "127.0.0.1:0"}), data)
        await app.start()
    return app, demo


async def _open(settings: Settings, data: Path) -> tuple[App, Demo]:
    outside = Outside()
    app = await open_app(settings, outside, Development(_ANONYMOUS))
    return app, await prepare(app.stores, settings, outside, _known(data))


def _settings(data: Path, database_url: str, cache_url: str) -> Settings:
    return Settings(
        issuer=ISSUER,
        database_url=SecretStr(database_url),
        cache_url=SecretStr(cache_url),
        secret_keys=SecretBytes(_secret(data / "secret.key")),
        plaintext=True,
        http_listen="127.0.0.1:0",
        web_origins=origins(choose_port()),
        drain_delay=0,
    )


def _secret(path: Path) -> bytes:
    """The deployment secret of this directory, made at its first use."""
    with suppress(FileExistsError):
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w") as file:
            file.write(secrets.token_hex(32))
    return path.read_bytes().strip()


class _Directory:
    """The data directory, made if need be, and held by this process alone."""

    def __init__(self, data: Path) -> None:
        self._data = data
        self._lock: IO[str] | None = None

    def __enter__(self) -> None:
        self._data.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock = (self._data / "lock").open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._lock.close()
            raise CannotStart(f"another one runs in {self._data}; give --data another directory") from None

    def __exit__(self, *_: object) -> None:
        if self._lock is not None:
            self._lock.close()


def _known(data: Path) -> Demo | None:
    """The demo user and keys of the run before, if its file is still there."""
    try:
        file = json.loads((data / "dev.json").read_text())
        return Demo(file["username"], file["password"], file["admin_key"], file["client_key"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _write_file(data: Path, app: App, demo: Demo) -> DevFile:
    listen = app.settings.listen
    address = listen if listen.startswith("unix:") else f"{listen.rpartition(':')[0]}:{app.port}"
    settings = app.settings
    file = DevFile(
        address,
        settings.issuer,
        demo.admin_key,
        demo.client_key,
        demo.username,
        demo.password,
        settings.cache_url.get_secret_value(),
        settings.database_url.get_secret_value(),
    )
    _write_private(data / "dev.json", asdict(file))
    _write_private(data / "login.json", {"username": demo.username, "password": demo.password})
    return file


def _write_private(path: Path, content: Mapping[str, str]) -> None:
    """Write a file that nobody else can read, whole or not at all."""
    fresh = path.with_suffix(".new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as to:
        json.dump(content, to, indent=2)
    fresh.replace(path)


def _place(file: DevFile) -> Place:
    return Place(file.address, file.issuer, file.username, file.password)


async def _serve(app: App, file: DevFile, data: Path, console: Console) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    console.print(
        f"\nServing at [bold]{file.address}[/]. Callers on this machine need no key. Ctrl-C ends it."
    )
    console.print(
        f"Addresses, keys and the password of [bold]{file.username}[/] are in {_near(data) / 'dev.json'}."
    )
    async with serve_pages(app, file.client_key, data) as pages:
        console.print(pages, markup=False, soft_wrap=True)
        await _until_stopped(app, file, data, console, stopped)


async def _until_stopped(
    app: App, file: DevFile, data: Path, console: Console, stopped: asyncio.Event
) -> None:
    console.print(f"Try:  grpcurl -plaintext {file.address} list", markup=False)
    login = f"grpcurl -plaintext -d @ {file.address} authsvc.v1.AuthService/Login"
    console.print(f"      {login} < {_near(data) / 'login.json'}\n", markup=False, soft_wrap=True)
    logs.configure(app.settings.log_level, readable=True)
    await stopped.wait()
    console.print("\nEnding.")


def _near(path: Path) -> Path:
    """The path as seen from here, if that is shorter."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
