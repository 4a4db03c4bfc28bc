"""What the doctor reads of Admin APIs: a recorded kind of each answer."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from click.testing import CliRunner

from cli.doctor.look_kong import look_at_node
from cli.doctor.look_state import look_at_server
from cli.main import main
from decl.admin import AdminClient

NOW = 1_800_000_000.0


@pytest.fixture
def http() -> Iterator[Any]:
    """Serves path -> (status, JSON or text); the clock in its Date header is 60 s ahead."""
    answers: dict[str, tuple[int, Any]] = {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = answers.get(self.path.partition("?")[0], (404, {"message": "Not found"}))
            raw = body.encode() if isinstance(body, str) else json.dumps(body).encode()
            self.send_response_only(status)
            self.send_header("Date", formatdate(NOW + 60, usegmt=True))
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", answers
    server.shutdown()
    thread.join()
    server.server_close()


def look(url: str) -> Any:
    with AdminClient(url) as client:
        return look_at_node(client, lambda: NOW)


ROOT = {"version": "3.9.3", "configuration": {"role": "control_plane"}}


def test_a_control_plane_with_its_planes(http: Any) -> None:
    url, answers = http
    answers["/"] = (200, ROOT)
    answers["/plugins"] = (
        200,
        {"data": [{"name": "kgate", "config": {"socket": "/r/express.sock"}}], "next": None},
    )
    answers["/clustering/data-planes"] = (200, {"data": [{"hostname": "dp", "last_seen": NOW + 30}]})
    seen = look(url)
    assert (seen.role, seen.socket, seen.error) == ("control_plane", "/r/express.sock", "")
    assert seen.skew == pytest.approx(60.5)
    # by the control plane's own clock
    assert seen.planes[0]["silent"] == pytest.approx(30.5)


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (500, {"message": "An unexpected error occurred"}, "HTTP 500"),
        (401, {}, "HTTP 401"),
        (200, "<html>", "not as Kong's Admin API"),
        (200, {"hello": 1}, "not as Kong's Admin API"),
    ],
)
def test_what_is_no_node(http: Any, status: int, body: Any, said: str) -> None:
    url, answers = http
    answers["/"] = (status, body)
    seen = look(url)
    assert (seen.info, said in seen.error, seen.status) == (None, True, status)


def test_a_node_whose_plugins_cannot_be_read(http: Any) -> None:
    url, answers = http
    answers["/"] = (200, {"version": "3.9.3", "configuration": []})
    answers["/plugins"] = (403, {})
    seen = look(url)
    assert (seen.plugins, seen.planes, seen.settings, seen.role) == (None, None, {}, "traditional")


def test_a_health_port(http: Any) -> None:
    url, answers = http
    answers["/healthz"] = (200, {"workers": 2, "version": "0.1.0"})
    answers["/readyz"] = (503, {"ready": False, "problems": ["x"], "warnings": []})
    answers["/metrics"] = (200, "# HELP x\nkgate_refused_peers_total 3.0\nkgate_other 1\n")
    seen = look_at_server(url)
    assert (seen.error, seen.version, seen.metrics) == ("", "0.1.0", {"kgate_refused_peers_total": 3.0})
    assert seen.ready is not None
    assert seen.ready["problems"] == ["x"]
    answers["/readyz"] = (200, "nginx")
    assert "not as kgate serve does" in look_at_server(url).error
    assert look_at_server("http://127.0.0.1:1").error


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--max-key-age", "5"),
        ("--max-key-age", "2030-01-01"),
        ("--proxy", "kong:8000"),
        ("--server", "localhost:9542"),
        ("--node", "kong:8001"),
        ("--redis", "http://redis"),
        ("--kong-group", "no-such-group-here"),
        ("--fail-on", "never"),
    ],
)
def test_what_cannot_be_meant_is_wrong_usage_and_names_the_option(option: str, value: str) -> None:
    given = {"--node": "http://127.0.0.1:1", option: value}
    args = [part for pair in given.items() for part in pair]
    result = CliRunner().invoke(main, ["doctor", *args], env={"REDIS_URL": ""})
    assert result.exit_code == 2
    assert option in result.stderr
