"""Decisions as spans."""

from __future__ import annotations

import http.server
import logging
import sys
import threading
import time

import pytest
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from kong_plugins.engine.facts import parse_facts
from kong_plugins.engine.verdict import Verdict
from kong_plugins.server.decider import Decider
from kong_plugins.server.tracing import OtelTracer, is_sampled, make_tracer
from kong_plugins.state.base import State
from kong_plugins.state.snapshot import empty_snapshot

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SAMPLED = f"00-{TRACE}-{PARENT}-01"


def record(traceparent: str = SAMPLED, method: str = "GET") -> list[object]:
    names = ["r-1", "203.0.113.7", "https", method, "shop.example", "/p", "/p", "orders", "order", "shop"]
    return [1, *names, traceparent, "", "authorization", "Bearer secret"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (SAMPLED, True),
        (f"00-{TRACE}-{PARENT}-00", False),
        (f"00-{TRACE}-{PARENT}-03", True),
        (f"01-{TRACE}-{PARENT}-01-more", True),
        (f"00-{TRACE}-{PARENT}-01-more", False),
        (f"ff-{TRACE}-{PARENT}-01", False),
        (f"00-{'0' * 32}-{PARENT}-01", False),
        (f"00-{TRACE}-{'0' * 16}-01", False),
        (f"00-{TRACE.upper()}-{PARENT}-01", False),
        ("", False),
        ("00", False),
        ("\udcff" * 55, False),
    ],
)
def test_only_sampled_traces_that_can_be_read(text, expected):
    assert is_sampled(text) is expected


@pytest.fixture
def spans():
    return InMemorySpanExporter()


@pytest.fixture
def decider(spans):
    found = Decider(time.time)
    found.state = State(empty_snapshot(), None)
    found.tracer = OtelTracer(SimpleSpanProcessor(spans))
    yield found
    found.tracer.close()


def test_a_decision_is_a_span_of_the_clients_trace(decider, spans):
    known = decider.register("abuse-guard", '{"deny": ["203.0.113.0/24"]}')
    decider.decide_ids([known.id], record())
    (span,) = spans.get_finished_spans()
    assert (span.name, f"{span.context.trace_id:032x}", f"{span.parent.span_id:016x}") == (
        "kgate.decide",
        TRACE,
        PARENT,
    )
    assert span.attributes["http.route"] == "orders"
    assert span.attributes["kgate.tenant"] == "shop"
    (event,) = span.events
    assert event.name == "kgate.verdict"
    assert dict(event.attributes) == {
        "kgate.verdict": "exit",
        "http.response.status_code": 403,
        "kgate.plugin": "abuse-guard",
        "kgate.reason": "ip_denied",
    }
    assert 0 <= span.end_time - span.start_time < 5e9
    assert "secret" not in span.to_json()


@pytest.mark.parametrize("traceparent", ["", "garbage", f"00-{TRACE}-{PARENT}-00"])
def test_no_span_without_a_sampled_trace(decider, spans, traceparent):
    known = decider.register("abuse-guard", "{}")
    assert decider.decide_ids([known.id], record(traceparent))[0] is not None
    assert spans.get_finished_spans() == ()


def test_odd_bytes_are_told_and_fail_nothing(decider, spans):
    facts = parse_facts(record(method="G\udcff"))
    decider.tracer.decided(facts, Verdict(reason="x\udc80"), time.time(), 0.001)
    (span,) = spans.get_finished_spans()
    assert span.attributes["http.request.method"] == "G\\udcff"


def test_nothing_is_traced_unless_the_environment_says_where(caplog, monkeypatch):
    assert make_tracer({}) is None
    where = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}
    assert make_tracer({**where, "OTEL_SDK_DISABLED": "true"}) is None
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    with caplog.at_level(logging.WARNING):
        assert make_tracer(where) is None
    assert "kgate[otel]" in caplog.text


def test_spans_are_sent_to_the_endpoint(monkeypatch):
    got = threading.Event()

    class Collector(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.path == "/v1/traces" and b"kgate.decide" in body and b"ip_denied" in body:
                got.set()
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Collector) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        where = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{server.server_port}"}
        monkeypatch.setenv(*next(iter(where.items())))
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "none")
        tracer = make_tracer(where)
        tracer.decided(parse_facts(record()), Verdict(status=403, reason="ip_denied"), time.time(), 0.001)
        tracer.close()
        server.shutdown()
    assert got.is_set()
