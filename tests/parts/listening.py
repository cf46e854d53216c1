"""An instance whose HTTP listener is open, and a client for it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from authsvc.core.cookies import SESSION
from authsvc.stores.embedded import EmbeddedValkey
from tests.parts.service import Service, run_service


@dataclass
class Listening:
    """A running instance and an HTTP client that follows no redirects."""

    service: Service
    web: httpx.AsyncClient

    async def get(self, path: str, cookie: str = "", **given: Any) -> httpx.Response:
        """GET a path, with this session token as a browser would send it."""
        headers = {**given.pop("headers", {}), **({"cookie": f"{SESSION}={cookie}"} if cookie else {})}
        return await self.web.get(path, headers=headers, **given)


@asynccontextmanager
async def listen(database_url: str, cache_url: str, **changed: Any) -> AsyncIterator[Listening]:
    """Run an instance that listens for HTTP."""
    given = {"http_listen": "127.0.0.1:0", **changed}
    async with run_service(database_url, cache_url, **given) as service:
        base = f"http://127.0.0.1:{service.app.http.port}"
        async with httpx.AsyncClient(base_url=base, trust_env=False) as web:
            yield Listening(service, web)


@pytest.fixture
async def listening(sqlite_url: str, valkey: EmbeddedValkey) -> AsyncIterator[Listening]:
    """An instance on SQLite and Valkey."""
    async with listen(sqlite_url, valkey.url) as running:
        yield running
