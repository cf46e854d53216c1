"""Canaries are planted wherever a secret goes in; then every output is searched for them and for every token given.

Outputs: logs at the level that logs most, statuses with their details and metadata, metrics, traces, what values of the
core print, the audit log and all the database, the cache, tracebacks. Processes have `test_processes.py`.
"""

import gc
import io
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import prometheus_client
import pytest
import redis.asyncio
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from pydantic import SecretBytes
from sqlalchemy import select

from authsvc.app import tracing
from authsvc.stores.embedded import EmbeddedValkey
from authsvc.stores.sql.schema import metadata
from tests.parts.service import Service, run_service
from tests.security import a_busy_day
from tests.security.a_busy_day import CANARY, PRIVATE, Day, found


@dataclass
class Stage:
    """An instance whose every output is kept, and what it was told to keep secret."""

    service: Service
    log: io.StringIO
    spans: InMemorySpanExporter
    directory: Path


@pytest.fixture
async def stage(
    sqlite_url: str, valkey: EmbeddedValkey, log: io.StringIO, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Stage]:
    """An instance with traces, at the level that logs most, under secrets of its own."""
    spans = InMemorySpanExporter()
    monkeypatch.setattr(tracing, "_exporter", lambda _: spans)
    given: dict[str, Any] = {
        "log_level": "debug",
        "traces_endpoint": "http://127.0.0.1:1",
        "secret_keys": SecretBytes(a_busy_day.fresh_secret()),
        "signing_key": SecretBytes(a_busy_day.signing_key()),
    }
    async with run_service(sqlite_url, valkey.url, **given) as service:
        yield Stage(service, log, spans, tmp_path)


async def spent(stage: Stage) -> Day:
    """A busy day, and the deployment's own secrets."""
    day = await a_busy_day.spend(stage.service)
    settings = stage.service.app.settings
    assert settings.signing_key is not None
    pem = settings.signing_key.get_secret_value().decode()
    day.keep(
        deployment_secret=settings.secret_keys.get_secret_value().decode(),
        cache_password=settings.cache_url.get_secret_value().partition("@")[0].rpartition(":")[2],
        **{f"line {number} of the signing key": line for number, line in enumerate(pem.splitlines()[1:-1])},
    )
    return day


async def test_outputs(stage: Stage, capfd: pytest.CaptureFixture[str]) -> None:
    """No log, status, metric or trace holds a secret, and none says what is private.

    Guards: nobody says it: `interceptors/observe.py` logs ids alone, `rpc/errors.py` has fixed sentences. Behind them
    `logs.py:redact` masks what looks like a token, see `tests/test_logs.py`.
    """
    day = await spent(stage)

    assert stage.service.app._traces is not None
    await stage.service.app._traces.close()
    metrics = prometheus_client.generate_latest(stage.service.app.metrics).decode()
    traced = "".join(span.to_json() for span in stage.spans.get_finished_spans())
    said = {
        "log": stage.log.getvalue(),
        "statuses": "".join(day.told),
        "metrics": metrics,
        "traces": traced,
        "streams": "".join(capfd.readouterr()),
    }
    assert said["log"].count("\n") > 100
    assert traced.count("span_id") > 100
    assert len(day.secrets) > 40
    for name, text in said.items():
        assert found(day, text) == [], name
        assert PRIVATE not in text, name


async def test_what_values_print(stage: Stage) -> None:
    """Nothing alive in the server shows a secret when it is printed: in a debugger, an assertion, a log of tomorrow.

    Guard: `repr=False` where a field holds one, as in `core/model.py`, `core/tokens.py`; SecretStr in the settings.
    """
    day = await spent(stage)
    gc.collect()  # what tests before left behind

    printed = [
        (type(each).__qualname__, f"{each!r} {each!s}".replace(PRIVATE, ""))
        for each in gc.get_objects()
        if _is_ours(str(type(each).__module__))
    ]

    assert len({kind for kind, _ in printed}) > 60
    assert {kind: names for kind, text in printed if (names := found(day, text))} == {}


def _is_ours(module: str) -> bool:
    """Whether values of this module are; messages of the contract print everything, and so are printed nowhere."""
    return module.startswith("authsvc.") and not module.startswith("authsvc.v1")


async def test_settings_dump(stage: Stage) -> None:
    """A dump of the settings, in any of pydantic's ways, shows no secret."""
    settings = stage.service.app.settings
    day = await spent(stage)

    dumps = (
        f"{settings} {settings!r} {settings.model_dump()} {settings.model_dump_json()} {settings.secrets!r}"
    )

    assert found(day, dumps) == []
    assert "traces_endpoint" in dumps


async def test_database_and_cache(stage: Stage, valkey: EmbeddedValkey) -> None:
    """No row, file or record holds a secret; the audit log, nothing that somebody typed at a failed login.

    Guards: hashes instead of tokens (`core/tokens.py:Minted`), `core/sealing.py` for what must be read again.
    """
    day = await spent(stage)

    rows = {
        table.name: str([list(row) for row in await stage.service.app.stores.database.read(select(table))])
        for table in metadata.sorted_tables
    }
    files = b"".join(file.read_bytes() for file in stage.directory.glob("authsvc.db*")).decode("latin-1")
    async with redis.asyncio.Redis.from_url(valkey.url) as inside:
        keys = [key async for key in inside.scan_iter()]
        cached = str([*keys, *(await inside.mget(keys))])
    for name, text in {**rows, "files": files, "cache": cached}.items():
        assert [secret for secret in found(day, text) if secret != "the canary"] == [], name
    assert "login.failed" in rows["audit_events"]
    assert CANARY not in rows["audit_events"].replace(PRIVATE, "")
    assert "$argon2id$" in rows["users"]
    assert "as:{" in cached
