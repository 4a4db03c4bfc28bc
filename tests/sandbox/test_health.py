"""Passive and active health checks of targets."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from sandbox.health import Health
from tests.ports import refused_port

A = ("a", 1)
PASSIVE = {
    "healthy": {"http_statuses": [200], "successes": 2},
    "unhealthy": {"http_statuses": [500, 502], "http_failures": 2, "tcp_failures": 2, "timeouts": 2},
}


def passive(**checks: Any) -> dict[str, Any]:
    return {"name": "u", "healthchecks": {"passive": {**PASSIVE, **checks}}}


def health(upstream: dict[str, Any]) -> Health:
    h = Health()
    h.configure({"u": upstream}, {"u": [A]})
    return h


@pytest.mark.parametrize(
    ("reports", "up"),
    [
        ("500", True),
        ("500 500", False),
        ("500 200 500", True),  # a success forgets the failures
        ("500 404 500", False),  # what is neither forgets nothing
        ("502 502", False),
        ("503 503 503", True),
        ("504 504", False),  # the last try's timeout
        ("tcp tcp", False),
        ("tcp timeout 500", True),  # counted apart
        ("timeout timeout", False),
        ("500 500 200", False),
        ("500 500 200 200", True),
        ("500 500 200 500 200", False),
    ],
)
def test_what_counts(reports: str, up: bool) -> None:
    h = health(passive())
    for report in reports.split():
        if report.isdigit():
            h.report_last("u", A, int(report))
        else:
            h.report_failure("u", A, report)
    assert h.available("u", A) is up
    assert h.status("u", A) == ("HEALTHY" if up else "UNHEALTHY")


def test_without_thresholds_nothing_is_ever_ejected() -> None:
    h = health({"name": "u", "healthchecks": {"passive": {"unhealthy": {"http_statuses": [500]}}}})
    for _ in range(10):
        h.report_last("u", A, 500)
    assert (h.available("u", A), h.status("u", A)) == (True, "HEALTHCHECKS_OFF")


def test_an_operator_says_so_and_a_configuration_keeps_the_state() -> None:
    h = health(passive())
    upstream, target = passive(), {"target": "a:1"}
    h.mark(upstream, target, healthy=False)
    assert h.state(upstream, target) == "UNHEALTHY"
    h.configure({"u": passive()}, {"u": [A]})
    assert h.state(upstream, target) == "UNHEALTHY"
    h.mark(upstream, target, healthy=True)
    assert h.state(upstream, target) == "HEALTHY"
    h.mark(upstream, target, healthy=False)
    h.configure({"u": passive()}, {})
    h.configure({"u": passive()}, {"u": [A]})
    assert h.state(upstream, target) == "HEALTHY"


def load(kong: Any, targets: list[int], checks: dict[str, Any], retries: int, **fields: Any) -> None:
    kong.load(
        services=[
            {
                "name": "s",
                "host": "u.up",
                "retries": retries,
                "routes": [{"name": "r", "paths": ["/r"]}],
                **fields,
            }
        ],
        upstreams=[
            {
                "name": "u.up",
                "healthchecks": checks,
                "targets": [{"target": f"127.0.0.1:{port}"} for port in targets],
            }
        ],
    )


@pytest.mark.parametrize(
    ("retries", "unhealthy", "good_after"),
    [
        (0, {"tcp_failures": 2}, False),  # the only try is a 502, never a TCP failure
        (1, {"tcp_failures": 2}, True),
        (0, {"http_failures": 2, "http_statuses": [502]}, True),
        (1, {"http_failures": 2, "http_statuses": [502]}, True),  # hidden by the retry
    ],
)
def test_a_refused_target(kong: Any, retries: int, unhealthy: Any, good_after: bool) -> None:
    _, live = kong.upstream()
    with refused_port() as port:
        load(kong, [port, live], {"passive": {"unhealthy": unhealthy}}, retries)
        for _ in range(6):
            kong.get("/r")
        statuses = {kong.get("/r").status for _ in range(6)}
    assert statuses == ({200} if good_after else {200, 502})


def test_all_ejected_is_503_and_put_healthy_brings_one_back(kong: Any, http: Any) -> None:
    up, port = kong.upstream()
    up.script = lambda head, writer: b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n"
    load(kong, [port], {"passive": {"unhealthy": {"http_failures": 3, "http_statuses": [500]}}}, 0)
    assert [kong.get("/r").status for _ in range(4)] == [500, 500, 500, 503]
    assert kong.get("/r").json["message"] == "failure to get a peer from the ring-balancer"
    rows = http(kong.admin, "GET", "/upstreams/u.up/health").json["data"]
    assert [row["health"] for row in rows] == ["UNHEALTHY"]
    answer = http(kong.admin, "PUT", f"/upstreams/u.up/targets/127.0.0.1:{port}/healthy")
    assert answer.status == 204
    assert kong.get("/r").status == 500


def test_a_refused_connection_is_tried_again_for_post_too(kong: Any) -> None:
    _, live = kong.upstream()
    with refused_port() as port:
        load(kong, [port, live], {}, 5)
        assert {kong.get("/r", method="POST").status for _ in range(4)} == {200}


def test_a_target_that_times_out_counts_as_a_timeout(kong: Any) -> None:
    up, hanging = kong.upstream()
    up.script = lambda head, writer: None
    _, live = kong.upstream()
    checks = {"passive": {"unhealthy": {"timeouts": 1}}}
    load(
        kong, [hanging, live], checks, 0, read_timeout=2000
    )  # the live one is to answer in it on any machine
    assert sorted(kong.get("/r").status for _ in range(2)) == [200, 504]
    assert {kong.get("/r").status for _ in range(4)} == {200}


def test_active_checks_find_the_bad_one_and_its_recovery(kong: Any) -> None:
    up, port = kong.upstream()
    bad = {"now": True}
    up.script = lambda head, writer: (
        b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n" if b" /health " in head and bad["now"] else b""
    )
    healthy = {"interval": 0.02, "successes": 1, "http_statuses": [200]}
    unhealthy = {"interval": 0.02, "http_failures": 1, "http_statuses": [500]}
    active = {"http_path": "/health", "healthy": healthy, "unhealthy": unhealthy}
    load(kong, [port], {"active": active}, 0)
    wait(kong, 503)
    bad["now"] = False
    wait(kong, 200)
    assert b"Host: 127.0.0.1\r\n" in up.seen[0]
    assert up.seen[0].startswith(b"GET /health HTTP/1.0\r\n")


def wait(kong: Any, status: int) -> None:
    deadline = time.monotonic() + 30
    while kong.get("/r").status != status:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_close_ends_the_checks() -> None:
    async def run() -> int:
        h = Health()
        active = {"healthy": {"interval": 9}, "unhealthy": {"interval": 9}}
        h.configure({"u": {"name": "u", "healthchecks": {"active": active}}}, {"u": [A]})
        await h.close()
        return len(asyncio.all_tasks())

    assert asyncio.run(run()) == 1
