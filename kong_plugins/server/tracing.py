"""Decisions as spans of the client's trace, where OpenTelemetry is installed (`pip install 'kgate[otel]'`).

Only requests with a sampled W3C `traceparent` (https://www.w3.org/TR/trace-context/) make a span: who began the trace
has decided. Where spans go is said by OpenTelemetry's own variables (OTEL_EXPORTER_OTLP_ENDPOINT,
OTEL_EXPORTER_OTLP_HEADERS, OTEL_SERVICE_NAME ...); without an endpoint nothing is traced.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

from kong_plugins.engine.facts import Facts
from kong_plugins.engine.verdict import Verdict

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import SpanProcessor

log = logging.getLogger("kgate.tracing")

ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-([0-9a-f]{2})")


class Tracer(Protocol):
    """Tells of decisions."""

    def decided(self, facts: Facts, verdict: Verdict, ended: float, seconds: float) -> None:
        """A verdict at the time ended (Unix seconds), after so many seconds."""
        ...

    def close(self) -> None:
        """Send what waits."""
        ...


def is_sampled(traceparent: str) -> bool:
    """Whether it is a traceparent that can be read, and its trace is recorded."""
    found = _TRACEPARENT.match(traceparent)
    if found is None or (traceparent[:2] == "00" and len(traceparent) != 55):
        return False
    return bool(int(found[1], 16) & 1)


def make_tracer(environ: Mapping[str, str]) -> Tracer | None:
    """The tracer that the environment asks for; None for none. Says in the log when it cannot be had."""
    if (
        not any(environ.get(name) for name in ENDPOINTS)
        or environ.get("OTEL_SDK_DISABLED", "").lower() == "true"
    ):
        return None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        log.warning("traces are wanted, but OpenTelemetry is not installed: pip install 'kgate[otel]'")
        return None
    return OtelTracer(BatchSpanProcessor(OTLPSpanExporter()))


class OtelTracer:
    """Spans by the OpenTelemetry SDK; the processor sends them from a thread of its own, off the request path."""

    def __init__(self, processor: SpanProcessor) -> None:
        from opentelemetry.sdk.resources import SERVICE_NAME, OTELResourceDetector, Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        resource = Resource({SERVICE_NAME: "kgate"}).merge(OTELResourceDetector().detect())
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer("kgate")
        self._extract = TraceContextTextMapPropagator().extract

    def decided(self, facts: Facts, verdict: Verdict, ended: float, seconds: float) -> None:
        """A span `kgate.decide` with an event `kgate.verdict`. No user, token or query is in it."""
        if not is_sampled(facts.traceparent):
            return
        end = int(ended * 1e9)
        span = self._tracer.start_span(
            "kgate.decide",
            context=self._extract({"traceparent": facts.traceparent}),
            start_time=end - int(seconds * 1e9),
            attributes={
                "http.request.method": _text(facts.method),
                "http.route": facts.route,
                "kgate.service": facts.service,
                "kgate.tenant": facts.tenant,
                "kgate.request_id": _text(facts.request_id),
            },
        )
        told: dict[str, str | int] = {"kgate.verdict": "exit" if verdict.is_exit else "pass"}
        if verdict.status is not None:
            told["http.response.status_code"] = verdict.status
        for name in ("plugin", "reason", "arm", "upstream"):
            value = getattr(verdict, name)
            if value:
                told[f"kgate.{name}"] = _text(value)
        span.add_event("kgate.verdict", told, timestamp=end)
        span.end(end)

    def close(self) -> None:
        """Send what waits."""
        self._provider.shutdown()


def _text(value: str) -> str:
    """Bytes that are no UTF-8 cannot be sent."""
    return value.encode("utf-8", "backslashreplace").decode()
