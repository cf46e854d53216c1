"""What must stay secret is sent to the HTTP listener as canaries; then all that it writes and answers is searched."""

import io
import logging
from collections.abc import AsyncIterator, Iterator

import pytest
import structlog

from authsvc import logs
from authsvc.core.cookies import REFRESH, SESSION
from authsvc.stores.embedded import EmbeddedValkey
from tests.parts.listening import Listening, listen

CANARY = "kanarie9f3c7e21"
TOKENS = [
    *(f"{prefix}{CANARY}{'A' * 48}" for prefix in ("ats_", "atr_", "atc_", "xyz_")),
    f"eyJ.{CANARY}.{CANARY}",
]
PATHS = [
    "/check?audience=orders",
    f"/check?audience={CANARY}",
    "/account",
    "/login",
    f"/{CANARY}",
    "/inspector",
]


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """All that is logged, at the level that logs most, as the server itself would write it."""
    written, root = io.StringIO(), logging.getLogger()
    handlers, level = root.handlers[:], root.level
    logs.configure("debug", to=written)
    yield written
    root.handlers[:], root.level = handlers, level
    structlog.reset_defaults()


@pytest.fixture
async def watched(sqlite_url: str, valkey: EmbeddedValkey, log: io.StringIO) -> AsyncIterator[Listening]:
    """An instance whose logs are kept."""
    async with listen(sqlite_url, valkey.url) as running:
        yield running


async def test_nothing_secret_leaves(
    watched: Listening, log: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No cookie, token, key, path or query that is sent is in a log, a metric or an answer, whatever becomes of the
    request, a defect too. Guards: `Answers` in http/answers, and logs.without_exception_texts."""
    written = ""
    for token in TOKENS:
        headers = {
            "cookie": f"{SESSION}={token}; {REFRESH}={token}; sid={CANARY}",
            "authorization": f"Bearer {token}",
            "x-authsvc-key": token,
            "x-forwarded-method": "GET",
            "x-forwarded-uri": f"/{CANARY}?token={token}",
            "accept": "application/json",
            "if-none-match": CANARY,
        }
        for path in PATHS:
            answer = await watched.get(path, headers=headers, params=None)
            written += answer.text + str(dict(answer.headers))
            written += (await watched.web.post(path, headers=headers, content=CANARY.encode())).text

    async def broken(*_: object) -> None:
        raise ValueError(f"not {CANARY}")

    monkeypatch.setattr(watched.service.app.cache.sessions, "validate", broken)
    login = await watched.service.login()
    answer = await watched.get("/account", login.session_token)
    written += answer.text + (await watched.get("/metrics")).text

    assert answer.status_code == 500
    assert "incident" in log.getvalue()
    assert CANARY not in written
    assert CANARY not in log.getvalue()
    assert login.session_token not in log.getvalue()
