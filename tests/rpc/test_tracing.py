"""Traces: spans of calls and of what they ask of the stores, and nothing secret in them."""

import subprocess
import sys
from collections.abc import AsyncIterator

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from authsvc.app import tracing
from authsvc.config import SettingsWrong, read_settings
from authsvc.core.contracts import StoreUnavailable
from authsvc.stores.embedded import EmbeddedValkey
from authsvc.v1 import auth_service_pb2 as pb
from tests.parts.service import PASSWORD, Service, outcome, run_service

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
METHOD = "authsvc.v1.AuthService/"


@pytest.fixture
def exported(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    """Where spans go instead of to a collector."""
    exporter = InMemorySpanExporter()
    monkeypatch.setattr(tracing, "_exporter", lambda _: exporter)
    return exporter


@pytest.fixture
async def traced(
    sqlite_url: str, valkey: EmbeddedValkey, exported: InMemorySpanExporter
) -> AsyncIterator[Service]:
    """An instance that is traced."""
    async with run_service(sqlite_url, valkey.url, traces_endpoint="http://127.0.0.1:4317") as service:
        yield service


def spans(service: Service, exported: InMemorySpanExporter) -> dict[str, ReadableSpan]:
    """The newest span of each name."""
    traces = service.app._traces
    assert traces is not None
    traces._provider.force_flush()
    return {span.name: span for span in exported.get_finished_spans()}


async def test_a_call_and_its_stores(traced: Service, exported: InMemorySpanExporter) -> None:
    """A call has a span, within the caller's trace, and what it asks of the stores has spans within that."""
    login = await traced.login()
    metadata = (*traced.by("gateway"), ("traceparent", f"00-{TRACE}-{PARENT}-01"))
    await traced.auth.ValidateSession(
        pb.ValidateSessionRequest(session_token=login.session_token), metadata=metadata
    )

    found = spans(traced, exported)
    call, cache = found[f"{METHOD}ValidateSession"], found["cache validate"]
    statement = found["sql insert sessions"]

    assert call.context.trace_id == int(TRACE, 16)
    assert call.parent is not None
    assert call.parent.span_id == int(PARENT, 16)
    assert cache.parent is not None
    assert cache.parent.span_id == call.context.span_id
    assert statement.parent is not None
    assert statement.parent.span_id == found[f"{METHOD}Login"].context.span_id
    assert call.attributes is not None
    assert call.attributes["rpc.grpc.status_code"] == 0
    assert call.attributes["authsvc.client_id"] == "gateway"


async def test_how_a_call_failed(
    traced: Service, exported: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A refusal is told by its reason; only what the server could not do is a failure."""
    await outcome(traced.validate("ats_made-up"))

    async def unavailable(*_: object) -> None:
        raise StoreUnavailable("host=10.1.2.3 password=hidden")

    monkeypatch.setattr(traced.app.stores.sessions, "list_user", unavailable)
    token = (await traced.login()).session_token
    metadata = (("authorization", f"Bearer {token}"),)
    await outcome(traced.auth.ListSessions(pb.ListSessionsRequest(), metadata=metadata))

    found = spans(traced, exported)
    refused, failed = found[f"{METHOD}ValidateSession"], found[f"{METHOD}ListSessions"]

    assert (refused.attributes or {})["authsvc.reason"] == "SESSION_NOT_ACTIVE"
    assert refused.status.status_code is StatusCode.UNSET
    assert failed.status.status_code is StatusCode.ERROR
    assert (failed.attributes or {})["error.type"] == "DEPENDENCY_UNAVAILABLE"
    assert "hidden" not in failed.to_json()


async def test_no_secret_is_in_a_span(traced: Service, exported: InMemorySpanExporter) -> None:
    """No token, password, name or address of a user, nor any key, is in what goes to the collector."""
    login = await traced.login("zelda")
    await traced.validate(login.session_token)
    await traced.refresh(login.tokens.refresh_token)
    await traced.introspect(login.tokens.access_token)
    await traced.revoke(token=login.tokens.access_token)
    secrets = [
        *(PASSWORD, "zelda", login.session_token, login.tokens.refresh_token, login.tokens.access_token),
        *traced.keys.values(),
    ]

    spans(traced, exported)
    text = "".join(span.to_json() for span in exported.get_finished_spans())

    assert len(exported.get_finished_spans()) > 10
    assert not [secret for secret in secrets if secret in text]


def test_nothing_is_loaded_unless_asked_for() -> None:
    """Without a collector no library for traces is loaded."""
    # redis-py loads parts of OpenTelemetry for itself where they are installed.
    names = "[name for name in sys.modules if 'exporter' in name or 'tracing' in name]"
    script = f"import sys, authsvc.app; print({names})"

    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert loaded.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("endpoint", "wrong"),
    [
        ("http://collector.example.com:4317", "must be https:// for a collector on another machine"),
        ("collector:4317", "must be a URL with a port"),
        ("https://collector", "must be a URL with a port"),
    ],
)
def test_where_traces_may_go(endpoint: str, wrong: str) -> None:
    """A collector on another machine is spoken to over TLS alone."""
    with pytest.raises(SettingsWrong) as refused:
        read_settings({"AUTHSVC_TRACES_ENDPOINT": endpoint})

    assert [each for each in refused.value.mistakes if "TRACES_ENDPOINT" in each and wrong in each]
