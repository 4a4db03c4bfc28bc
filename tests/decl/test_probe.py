"""Whether the adapter is live, whether a node is well, and who the nodes are."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any, ClassVar

import pytest

from decl.apply_db import StoppedError
from decl.compare import data_planes, planes_follow
from decl.gate import Gate, gate_of, trouble
from decl.nodes import NodeUrl, resolve
from decl.probe import propagation_time, wait_live


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def wait(answers: list[str | None], **options: Any) -> tuple[int, float]:
    """How often it looked, and how long it waited; the last answer repeats."""
    clock, looks = Clock(), [0]

    def look(proxy: str) -> str | None:
        looks[0] += 1
        return answers.pop(0) if len(answers) > 1 else answers[0]

    wait_live(["http://p"], "h", look=look, now=clock, sleep=clock.sleep, **options)
    return looks[0], clock.now


def test_twenty_connections_in_a_row() -> None:
    assert wait(["h"]) == (20, 0.0)
    assert wait(["h"] * 19 + [None, "h"])[0] == 40
    assert wait([None, "old", "h"])[0] == 22


class Proxy(BaseHTTPRequestHandler):
    """Answers the probe, and keeps connections open when it is asked to."""

    protocol_version = "HTTP/1.1"
    accepted: ClassVar[list[int]] = []  # requests of each connection

    def setup(self) -> None:
        super().setup()
        self.accepted.append(0)

    def do_GET(self) -> None:
        self.accepted[-1] += 1
        body = json.dumps({"config": "old" if len(self.accepted) == 3 else "h"}).encode()
        self.send_response(200 if self.path == "/.kgate/probe" else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def test_each_look_is_a_connection_of_its_own() -> None:
    Proxy.accepted = []
    server = HTTPServer(("127.0.0.1", 0), Proxy)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        wait_live([f"http://127.0.0.1:{server.server_address[1]}"], "h", sleep=lambda _: None)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    # the third worker was not there yet: twenty in a row after it
    assert Proxy.accepted == [1] * 23


@pytest.mark.parametrize(
    ("answer", "what"), [(None, "no adapter answers"), ("old", "the adapter has another config")]
)
def test_it_gives_up(answer: str | None, what: str) -> None:
    with pytest.raises(StoppedError, match=rf"http://p/.kgate/probe: {what} after 3 s"):
        wait([answer], wait=3)


@pytest.mark.parametrize(
    ("node", "seconds"),
    [
        ({}, 11.0),
        ({"configuration": {"db_update_frequency": 1, "worker_state_update_frequency": 2.5}}, 4.5),
        ({"configuration": {"db_update_frequency": "?"}}, 11.0),
    ],
)
def test_without_a_proxy_the_time_that_kong_needs(node: dict[str, Any], seconds: float) -> None:
    assert propagation_time(node) == seconds


def look_up(name: str) -> list[str]:
    if name == "gone":
        raise OSError("no such host")
    return {"kong": ["192.0.2.1", "192.0.2.2", "2001:db8::1"]}[name]


@pytest.mark.parametrize(
    ("urls", "expected"),
    [
        (["http://a:1/", "http://a:1"], [NodeUrl("http://a:1")]),
        (
            ["dns+http://kong:8001"],
            [
                NodeUrl("http://192.0.2.1:8001", "kong"),
                NodeUrl("http://192.0.2.2:8001", "kong"),
                NodeUrl("http://[2001:db8::1]:8001", "kong"),
            ],
        ),
        (["dns+https://kong/admin"], [NodeUrl(f"https://{host}:443/admin", "kong") for host in
                                      ("192.0.2.1", "192.0.2.2", "[2001:db8::1]")]),
    ],
)  # fmt: skip
def test_nodes(urls: list[str], expected: list[NodeUrl]) -> None:
    assert resolve(urls, look_up) == expected


def test_a_name_without_an_address() -> None:
    with pytest.raises(ValueError, match="dns\\+http://gone:1: gone has no address"):
        resolve(["dns+http://gone:1"], look_up)


@pytest.mark.parametrize(
    ("settings", "answers", "expected"),
    [
        ({}, [500], None),
        ({"probes": ["/"]}, [200], None),
        ({"probes": ["/"]}, [404], None),
        ({"probes": ["/"], "status": [200]}, [404], "http://p/: HTTP 404 (1 times)"),
        ({"probes": ["/"]}, [200, 200, None, 200], "after 3 requests: http://p/: no answer (1 times)"),
        ({"probes": ["/"], "error_share": 0.5, "requests": 4}, [500, 500, 200, 200], None),
        ({"probes": ["/"], "error_share": 0.5, "requests": 4}, [500, 500, 500, 200], "HTTP 500 (3 times)"),
        ({"probes": ["http://x/y"]}, [503], "http://x/y: HTTP 503"),
    ],
)
def test_the_gate(settings: dict[str, Any], answers: list[int | None], expected: str | None) -> None:
    def look(url: str) -> int | None:
        return answers.pop(0) if len(answers) > 1 else answers[0]

    found = trouble(gate_of(settings), ["http://p"], look)
    assert found is None if expected is None else found is not None and expected in found


def test_the_gate_takes_its_time() -> None:
    clock = Clock()
    trouble(Gate(("/",), requests=10, seconds=5), ["http://p"], lambda _: 200, clock.sleep)
    assert clock.now == pytest.approx(5)


class Planes:
    """A control plane whose data planes tell these hashes, one list after the other."""

    node = "http://cp"

    def __init__(self, *rows: list[str], seen: int = 0) -> None:
        self._rows, self._seen = list(rows), seen

    def pages(self, path: str) -> list[dict[str, Any]]:
        assert path == "/clustering/data-planes"
        row = self._rows.pop(0) if len(self._rows) > 1 else self._rows[0]
        return [
            {"id": f"{number}" * 8, "hostname": f"dp{number}", "config_hash": digest, "last_seen": 1000}
            for number, digest in enumerate(row)
        ] + [{"id": "x" * 8, "hostname": "gone", "config_hash": "ancient", "last_seen": 10}]


@pytest.mark.parametrize(
    ("rows", "changed", "expected"),
    [
        ([["old", "old"], ["new", "old"], ["new", "new"]], True, None),
        ([["old", "old"]], False, None),
        ([["old", "old"]], True, "after 2 s not all data planes have the new config"),
        ([["new", "old"]], True, "dp0 (00000000) has new, dp1 (11111111) has old"),
    ],
)
def test_data_planes_follow(rows: list[list[str]], changed: bool, expected: str | None) -> None:
    clock = Clock()
    client: Any = Planes(*rows)
    before = data_planes(Planes(["old", "old"]))  # type: ignore[arg-type]
    found = planes_follow(client, before, changed, 2, clock, clock.sleep)
    assert found is None if expected is None else found is not None and expected in found


def test_half_of_a_config_that_all_planes_agree_on_is_not_believed() -> None:
    clock = Clock()
    client: Any = Planes(*[["half", "half"]] * 20, ["new", "half"], ["new", "new"])
    before = data_planes(Planes(["old", "old"]))  # type: ignore[arg-type]
    assert planes_follow(client, before, True, 2, clock, clock.sleep, settle=4.3) is None
    assert data_planes(client) == dict.fromkeys(before, "new")
