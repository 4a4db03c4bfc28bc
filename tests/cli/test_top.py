"""kgate top, on metrics as the plugin server writes them and on a real Redis."""

from __future__ import annotations

import http.server
import io
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from rich.console import Console

from cli import node_metrics, top, top_view
from kong_plugins.server.metrics import Metrics
from kong_plugins.state.base import StoreError

GAUGES = b"kgate_workers 2\nkgate_degraded 1\nkgate_state_age_seconds 1.5\nkgate_state_version 7\n"


def worker_report(passed: int, canary: int, blocked: int) -> dict[str, Any]:
    rows = [["shop", "cart", "", "", passed], ["shop", "cart", "", "canary_user", canary],
            ["shop", "menu", "abuse-guard", "ip_blocked", blocked]]  # fmt: skip
    return {"verdicts": rows, "failures": {"no_verdict": 1}, "buckets": [0] * 11, "seconds": 0.0}


@pytest.fixture
def server() -> Iterator[tuple[str, Metrics]]:
    """A plugin server's /metrics."""
    metrics = Metrics()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            text = metrics.text() + GAUGES
            self.send_response(200 if self.path == "/metrics" else 404)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_: Any) -> None:
            pass

    httpd = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=httpd.serve_forever, args=(0.02,))
    thread.start()
    yield f"127.0.0.1:{httpd.server_address[1]}", metrics
    httpd.shutdown()
    thread.join()
    httpd.server_close()


def look(kgate: Any, address: str, times: list[float]) -> Iterator[dict[str, Any]]:
    watch = top.Watch(kgate.store, [node_metrics.metrics_url(address)], lambda: times.pop(0))
    while times:
        yield watch.look()


def test_rates_are_taken_between_two_looks(kgate: Any, server: tuple[str, Metrics]) -> None:
    address, metrics = server
    metrics.worker(worker_report(100, 0, 0))
    looks = look(kgate, address, [10.0, 12.0])
    first = next(looks)
    assert first["requests_per_second"] is None
    metrics.worker(worker_report(15, 5, 4))
    second = next(looks)
    assert (second["requests_per_second"], second["fails_per_second"]) == (12.0, 0.5)
    assert second["servers"] == {
        "asked": 1, "answered": 1, "away": {}, "workers": 2, "degraded": 1, "state_age_seconds": 1.5,
        "state_version": 7,
    }  # fmt: skip
    assert [(one["verdict"], one["plugin"], one["rule"], one["per_second"]) for one in second["verdicts"]] == [
        ("pass", "", "", 7.5), ("pass", "", "canary_user", 2.5), ("exit", "abuse-guard", "ip_blocked", 2.0),
    ]  # fmt: skip
    assert second["routes"] == [{"route": "cart", "per_second": 10.0}, {"route": "menu", "per_second": 2.0}]
    assert second["arms"] == [{"route": "cart", "canary": 5.0, "control": 15.0, "canary_percent": 25.0}]


def test_one_snapshot_when_not_in_a_terminal(kgate: Any, server: tuple[str, Metrics]) -> None:
    address, metrics = server
    metrics.worker(worker_report(3, 1, 1))
    kgate.ok("block", "add", "203.0.113.7")
    kgate.ok("canary", "set", "v2", "--percent", "5", "--new")
    kgate.ok("breaker", "open", "*")
    kgate.ok("fallback", "force", "service:a", "--ttl", "1h")
    shown = kgate.ok("top", "--metrics", address, "--interval", "0.1")
    for part in (
        "0.0 requests/s, 0.0 fails/s; 1 of 1 servers, 2 workers, 1 degraded\n",
        "a server is at version 7, state age 1.5 s\n",
        ": 1 blocks, 0 imported, 0 allows, 0 revocations\n",
        "exit  abuse-guard  ip_blocked",
        "cart  canary 1  control 3  25%",
        "v2  running  5%  by kim",
        "*  open  without end  by kim",
        "service:a  until 2",
        "breaker.open  *  by kim",
    ):
        assert part in shown
    seen = kgate.json("top")
    assert (seen["state"]["blocks"], seen["canaries"][0]["name"]) == (1, "v2")
    assert seen["breakers"]["held"][0]["state"] == "open"
    assert kgate.ok("top", "--once").startswith("no --metrics: rates are not known\n")


def test_a_server_that_is_away_is_told(kgate: Any) -> None:
    seen = kgate.json("top", "--metrics", "http://127.0.0.1:9/metrics", "--interval", "0.1")
    assert (seen["servers"]["answered"], list(seen["servers"]["away"])) == (0, ["http://127.0.0.1:9/metrics"])
    assert kgate.refused(2, "top", "--metrics", "ftp://x").startswith("--metrics: 'ftp://x' is no URL")


def test_a_restarted_server_does_not_count_backwards() -> None:
    text = 'kgate_requests_total{{tenant="",route="a",plugin="",verdict="pass",reason=""}} {}\n'
    header = "# TYPE kgate_requests_total counter\n"
    old = node_metrics.read([header + text.format(100)], 0.0, {})
    new = node_metrics.read([header + text.format(30)], 10.0, {})
    assert node_metrics.rates(old, new)["requests_per_second"] == 3.0


def test_the_live_view(kgate: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    kgate.ok("block", "add", "user:[red]x", "--reason", "a")
    watch = top.Watch(kgate.store, [], lambda: 0.0)
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=100, height=40)
    waits: list[float] = []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 1:
            kgate.ok("canary", "set", "v2", "--pause", "--new")
        else:
            monkeypatch.setattr(watch, "look", away)

    def away() -> dict[str, Any]:
        raise StoreError("redis://x: gone")

    top_view.live(watch, console, 0.5, "default", sleep, frames=3)
    drawn = screen.getvalue()
    assert waits == [0.5, 0.5]
    assert "user [red]x" in drawn  # what stands in the state is no markup
    assert "v2" in drawn
    assert "redis://x: gone: the figures are old" in drawn
