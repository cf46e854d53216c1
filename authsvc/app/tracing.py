"""Owns traces, by OpenTelemetry. Loaded only where they are asked for: the libraries are an extra.

Spans go to the collector in batches, from a thread of the SDK's own; one that is slow or down costs spans, never calls.
"""

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import Span as OtelSpan
from opentelemetry.trace import SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from authsvc import __version__
from authsvc.core.contracts import CacheAnswer, CachedSession, Ended, SessionCache
from authsvc.core.spans import Span
from authsvc.settings import Settings

_PARENTS = frozenset({"traceparent", "tracestate"})


class Traces:
    """core.spans.Spans over one exporter."""

    def __init__(self, exporter: SpanExporter, share: float) -> None:
        self._provider = TracerProvider(
            sampler=ParentBased(TraceIdRatioBased(share)),
            resource=Resource({"service.name": "authsvc", "service.version": __version__}),
            shutdown_on_exit=False,
        )
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("authsvc", __version__)
        self._parents = TraceContextTextMapPropagator()

    def store(self, name: str) -> AbstractContextManager[Span]:
        """A question to a store."""
        return self._begun(name, SpanKind.CLIENT)

    def call(self, method: str, metadata: Iterable[tuple[str, Any]]) -> AbstractContextManager[Span]:
        """A call, within the caller's trace if it names one."""
        given = {key: value for key, value in metadata if key in _PARENTS and isinstance(value, str)}
        service, _, name = method.partition("/")
        attributes = {"rpc.system": "grpc", "rpc.service": service, "rpc.method": name}
        parent = self._parents.extract(given) if given else None
        return self._begun(method, SpanKind.SERVER, parent, attributes, fails=False)

    def sessions(self, inner: SessionCache) -> SessionCache:
        """The same cache, with a span for each question."""
        return _TracedSessions(inner, self)

    async def close(self) -> None:
        """Send what waits, within the SDK's own patience."""
        await asyncio.to_thread(self._provider.shutdown)

    @contextmanager
    def _begun(
        self,
        name: str,
        kind: SpanKind,
        parent: Context | None = None,
        attributes: Mapping[str, str] | None = None,
        *,
        fails: bool = True,
    ) -> Iterator[Span]:
        # Not the SDK's own recording of exceptions: their texts may quote what they were given.
        with self._tracer.start_as_current_span(
            name,
            context=parent,
            kind=kind,
            attributes=attributes,
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            begun = _Begun(span)
            try:
                yield begun
            except Exception as error:
                if fails:
                    begun.fail(type(error).__name__)
                raise


class _Begun:
    def __init__(self, span: OtelSpan) -> None:
        self._span = span
        self._failed = False

    def note(self, attributes: Mapping[str, str | int]) -> None:
        self._span.set_attributes(dict(attributes))

    def fail(self, why: str) -> None:
        if not self._failed:
            self._failed = True
            self._span.set_attribute("error.type", why)
            self._span.set_status(StatusCode.ERROR)


class _TracedSessions:
    """A SessionCache with a span for each question."""

    def __init__(self, inner: SessionCache, traces: Traces) -> None:
        self._inner = inner
        self._traces = traces

    async def validate(self, session_hash: bytes, now: int) -> CacheAnswer | Ended | None:
        """Look one session up."""
        with self._traces.store("cache validate"):
            return await self._inner.validate(session_hash, now)

    async def validate_many(
        self, session_hashes: Sequence[bytes], now: int
    ) -> Sequence[CacheAnswer | Ended | None]:
        """Look many up."""
        with self._traces.store("cache validate many"):
            return await self._inner.validate_many(session_hashes, now)

    async def add(self, session_hash: bytes, cached: CachedSession, now: int) -> None:
        """Write a record."""
        with self._traces.store("cache add"):
            await self._inner.add(session_hash, cached, now)

    async def end(self, session_hashes: Sequence[bytes]) -> None:
        """Remember that these have ended."""
        with self._traces.store("cache end"):
            await self._inner.end(session_hashes)

    def set_epoch(self, epoch: int) -> None:
        """Believe only records of this epoch."""
        self._inner.set_epoch(epoch)


def open_traces(settings: Settings) -> Traces:
    """Return what collects spans for the collector that the settings name."""
    return Traces(_exporter(settings), settings.traces_share)


def _exporter(settings: Settings) -> SpanExporter:
    endpoint = settings.traces_endpoint
    return OTLPSpanExporter(endpoint=endpoint, insecure=endpoint.startswith("http://"), timeout=5)
