"""Owns authsvc under test, as production runs it. Leaves the stores to `stage`.

Everything is on that costs something: the policy, metrics, logging at `info` into a file.
"""

import asyncio
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from pydantic import SecretBytes, SecretStr

from authsvc import logs
from authsvc.app import open_app
from authsvc.commands.serving import settle
from authsvc.hashing.processes import HashingProcesses
from authsvc.settings import Settings

ISSUER = "https://auth.example.com"


@dataclass(frozen=True, slots=True)
class Place:
    """What an instance is told. Goes through a pipe, so that no secret is seen among the processes."""

    database_url: str
    cache_url: str
    secret: bytes
    log: Path


def settings_for(place: Place) -> Settings:
    """The settings of the instance. Access tokens outlive the run."""
    given: dict[str, Any] = {
        "listen": "127.0.0.1:0",
        "issuer": ISSUER,
        "database_url": SecretStr(place.database_url),
        "cache_url": SecretStr(place.cache_url),
        "secret_keys": SecretBytes(place.secret),
        "plaintext": True,
        "access_ttl": "15m",
    }
    return Settings(**given)


async def _serve(orders: Connection, place: Place) -> None:
    settings = settings_for(place)
    hasher = HashingProcesses(settings.password_slots, settings.hash_cost)
    app = await open_app(settings, hasher=hasher)
    await app.start()
    settle()
    orders.send(app.port)
    await asyncio.to_thread(orders.poll, None)
    await app.stop()


def run(orders: Connection, place: Place) -> None:
    """Serve until the other end says or goes; first tell the port."""
    with place.log.open("a", buffering=1) as log:
        logs.configure("info", to=log)
        asyncio.run(_serve(orders, place))
