"""Breaker, retry budget, and the parts of prepared answers, end to end on a gateway of their own."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.client import Answer, Client, Headers
from tests.e2e.gateway import CLUSTER, Gateway, wait_until
from tests.kong_plugins.server.running import is_analysis

KINDS = {
    "refused": "/refusing/echo",
    "reset": "/flaky/reset",
    "timeout": "/slow/slow/1",
    "503": "/flaky/status/503",
}
JSON = {"Accept": "application/json"}
SHAPES: dict[str, dict[str, Any]] = {
    "get": {"headers": JSON},
    "head": {"headers": JSON, "method": "HEAD"},
    "stream": {"headers": {"Accept": "text/event-stream"}},
    "post": {"headers": JSON, "method": "POST", "body": b"x" * 20_000},
}
BREAKER = {"minimum_calls": 6, "open_seconds": 1, "half_open_permits": 2, "lease_seconds": 2}


class FallbackGateway(Gateway):
    """One route a breaker."""

    def config(self) -> dict[str, Any]:
        main, refused = f"http://{self.upstreams['main'].address}", f"http://127.0.0.1:{self.refused_port}"
        on = ["refused", "timeout", "no_target", 503, "open", "forced"]
        answers = [
            {"name": "page", "on": on, "accept": "text/html", "status": 200, "body": "<p>{{request_id}}",
             "content_type": "text/html"},
            {"name": "order", "on": on, "methods": ["POST"], "status": 503, "json": {"wait": "{{retry_after}}"},
             "retry_after": 7},
            {"name": "items", "on": on, "paths": ["/*/items/**"], "status": 200, "json": []},
            {"name": "rest", "on": on, "status": 503, "text": "later"},
        ]  # fmt: skip

        def service(name: str, url: str, retries: int = 0, **config: Any) -> dict[str, Any]:
            route = {"name": name, "hosts": ["shop.example"], "paths": [f"/{name}"]}
            plugin = {"name": "static-fallback", "config": {"responses": answers, **config}}
            wait = 300 if name in ("slow", "b1") else 10_000
            times = {"connect_timeout": 500, "read_timeout": wait, "retries": retries}
            return {"name": name, "url": url, "routes": [route], "plugins": [plugin], **times}

        return {
            "_format_version": "3.0",
            "clusters": {"test": {**CLUSTER, "nodes": self.admins, "run_dir": str(self.run_dir)}},
            "services": [
                service("calm", main),
                service("refusing", refused),
                service("flaky", main),
                service("slow", main),
                *(service(f"b{index}", main, breaker={**BREAKER}) for index in range(3)),
                service("brefused", refused, breaker={**BREAKER}),
                service("budget", main, retries=2, retry_budget=20),
            ],
        }


@pytest.fixture(scope="module")
def fallback(
    lane: str,
    gateways: dict[str, Gateway],
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Gateway]:
    option = request.config.getoption
    if option("--kong-admin") and lane in gateways:
        gateways.pop(lane).close()  # the one Kong, its sockets and its configuration are this one's now
    made = FallbackGateway(
        lane,
        option("--run-dir") or tmp_path_factory.mktemp("run"),
        option("--kong-admin"),
        option("--kong-proxy"),
        option("--kong-mode"),
    )
    try:
        made.start()
        yield made
    finally:
        made.close()


@pytest.fixture
def ask(fallback: Gateway) -> Client:
    return Client(fallback.proxy, fallback)


def mark(answer: Answer) -> str:
    return answer.headers.get("x-fallback", "")


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", KINDS)
def test_every_failure_in_every_shape(ask: Client, kind: str, shape: str) -> None:
    answer = ask(KINDS[kind], **SHAPES[shape])
    name = "order" if shape == "post" else "rest"
    assert (answer.status, mark(answer)) == (503, f"{name}; reason={kind}")
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["retry-after"] == ("7" if shape == "post" else "5")
    body = b'{"wait":"7"}' if shape == "post" else b"" if shape == "head" else b"later"
    assert answer.body == body
    assert not {"etag", "set-cookie", "last-modified", "content-encoding"} & set(answer.headers)
    assert "BaseHTTP" not in answer.headers.get("server", ""), "the failed service's own"


def test_chosen_by_accept_method_and_path(ask: Client) -> None:
    page = ask("/refusing/x", headers={"Accept": "text/html;q=0.5, */*;q=0.1"})
    assert mark(page) == "page; reason=refused"
    assert page.body.startswith(b"<p>")
    assert len(page.body) > 20
    assert b"{{" not in page.body
    assert mark(ask("/refusing/x", headers={"Accept": "text/html;q=0"})) == "rest; reason=refused"
    items = ask("/refusing/items/1/2", headers=JSON)
    assert (items.status, items.body, mark(items)) == (200, b"[]", "items; reason=refused")


def test_a_grpc_client_gets_a_grpc_status(ask: Client) -> None:
    answer = ask("/refusing/x", "POST", headers={"Content-Type": "application/grpc"}, body=b"\0\0\0\0\0")
    assert (answer.status, answer.headers["grpc-status"], answer.body) == (200, "14", b"")
    assert answer.headers["content-type"] == "application/grpc"


def test_streams_and_large_answers_are_untouched(ask: Client) -> None:
    assert len(ask("/calm/big/100000000", timeout=60).body) == 100_000_000
    assert ask("/calm/stream/5").body == b"".join(b"chunk %d\n" % n for n in range(5))


@pytest.mark.parametrize(
    ("name", "bad"), [("b0", "reset"), ("b1", "slow/1"), ("brefused", "echo"), ("b2", "status/503")]
)
def test_it_opens_and_closes_by_itself(fallback: Gateway, ask: Client, name: str, bad: str) -> None:
    let_through = 0.0

    def fails() -> bool:
        """Whether a bad request was let through to the service. One that the gateway lost is neither."""
        nonlocal let_through
        begun = time.monotonic()
        while not (found := mark(ask.once(f"/{name}/{bad}"))):
            time.sleep(0.2)
        if found.endswith("=open"):
            return False
        let_through = begun
        return True

    def refused_ask(headers: Headers) -> Answer:
        """While it is open: that is a second, so when the machine stands still it has to open again."""
        nonlocal openings
        while not mark(answer := ask.once(f"/{name}/echo", headers=headers)).endswith("=open"):
            openings += 1
            assert openings < 5
            wait_until(lambda: not fails(), 5, "it opens again")
        return answer

    openings = 1
    assert all(fails() for _ in range(6))
    wait_until(lambda: not fails(), 1, "the breaker opens")
    refused = refused_ask(JSON)
    assert refused.status == 503
    prompt = openings == 1 and time.monotonic() - let_through < BREAKER["open_seconds"]
    assert refused.headers["retry-after"] == "1" or not prompt
    conditional = {
        "Accept": "text/html",
        "If-Match": '"x"',
        "If-Unmodified-Since": "Thu, 01 Jan 2026 00:00:00 GMT",
    }
    page = refused_ask(conditional)
    assert (page.status, mark(page)) == (200, "page; reason=open"), "nginx would end the connection"
    assert fallback.metric("kgate_breaker_state", breaker=f"service:{name}") in (0, 1, 2)
    if name == "brefused":
        return
    wait_until(lambda: ask(f"/{name}/echo").status == 200, 3, "a trial passes")
    wait_until(lambda: all(ask(f"/{name}/echo").status == 200 for _ in range(6)), 3, "it closes")


def test_its_changes_stand_in_the_events(fallback: Gateway, redis_program: str) -> None:
    def opened() -> list[dict[str, Any]]:
        told = json.loads(fallback.kgate("events", "list", "--output", "json").stdout)
        return [each for each in told if each["kind"] == "breaker.opened"]

    wait_until(lambda: bool(opened()), 3, "an event")
    numbers = opened()[0]["data"]
    assert numbers["calls"] >= 6
    assert numbers["cause"] == "failure_rate"


def test_the_budget_takes_the_retries_away(fallback: Gateway, ask: Client) -> None:
    seen = fallback.upstreams["main"].seen

    def tries() -> int:
        before = len(seen)
        ask.once("/budget/reset")
        return len(seen) - before

    # and one for each kept connection that its peer gave up; a request that the gateway lost has none
    wait_until(lambda: tries() >= 3, 1, "the retries")
    for _ in range(21):
        ask("/budget/reset")
    wait_until(lambda: tries() == 1, 2, "no retries")


def test_an_analysis_that_dies_comes_back(fallback: Gateway, ask: Client) -> None:
    if fallback.given:
        pytest.skip("another test's business")
    pid = fallback.processes["server"].pid

    def found() -> list[int]:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return [int(child) for child in children if is_analysis(int(child))]

    (before,) = found()
    os.kill(before, signal.SIGKILL)
    wait_until(lambda: bool(found()) and found() != [before], 3, "another one")
    time.sleep(0.5)
    for _ in range(7):
        ask.once("/b0/reset")
    wait_until(lambda: mark(ask.once("/b0/reset")).endswith("=open"), 2, "it knows the configs")
