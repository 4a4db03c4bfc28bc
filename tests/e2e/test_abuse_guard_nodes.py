"""Limits and scenarios over several workers and two nodes with one Redis. On the sandbox: a given Kong is one."""

import json
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.client import Client
from tests.e2e.gateway import Gateway, steady, wait_until
from tests.e2e.limit_runs import Ask, at_once, for_seconds
from tests.e2e.pauses import pauses
from tests.redis_server import RedisServer

pytestmark = pytest.mark.timeout(180)
"""Two plugin servers with six workers take their time to start."""

HOUR = 3600
SOURCES = iter(f"127.60.{third}.{fourth}" for third in range(250) for fourth in range(1, 250))


class Node(Gateway):
    """A gateway of so many plugin server workers that shares its Redis with others."""

    def __init__(self, run_dir: Path, redis_url: str, processes: int) -> None:
        super().__init__("express", run_dir, None, None, "dbless")
        self.processes_wanted = processes
        self.env["REDIS_URL"] = redis_url

    def start_redis(self) -> None:
        """It is there."""

    def _begin_server(self) -> str:
        return self._begin(
            "server", "serve", "--run-dir", str(self.run_dir), "--lane", "express",
            "--workers", str(self.processes_wanted),
            "--config", str(self.dir / "server.yaml"), "--metrics-listen", f"127.0.0.1:{self.metrics_port}",
        )  # fmt: skip

    def config(self) -> dict[str, Any]:
        def route(name: str, **config: Any) -> dict[str, Any]:
            url = f"http://{self.upstreams['main'].address}"
            routes = [{"name": name, "hosts": ["shop.example"], "paths": [f"/{name}"]}]
            plugins = [{"name": "abuse-guard", "config": config}]
            return {"name": name, "url": url, "routes": routes, "plugins": plugins}

        def limit(name: str, burst: int, **more: Any) -> dict[str, Any]:
            return {"name": name, "key": ["ip"], "rate": burst, "per": HOUR, "burst": burst, **more}

        def marks(name: str, score: int) -> dict[str, Any]:
            then = {"group_by": ["ip"], "capacity": 3, "leak": 0.01, "then": ["mark"], "ttl": 60}
            return {"name": name, "score": score, **then}

        steadily = {"name": "steady", "key": ["ip"], "rate": 40, "burst": 60, "policy": "strict"}
        scan = {"use": "path-scan", "capacity": 9, "ttl": 60}
        briefly = {
            "name": "e2e-briefly",
            "group_by": ["ip"],
            "capacity": 3,
            "leak": 0.01,
            "ttl": 1,
            "factor": 60,
        }
        cluster = {
            "mode": "dbless",
            "nodes": self.admins,
            "run_dir": str(self.run_dir),
            "trusted_ips": [],
        }
        return {
            "_format_version": "3.0",
            "clusters": {"test": cluster},
            "services": [
                route("five", limits=[limit("nodes-five", 5)]),
                route("local", limits=[limit("nodes-local", 30)]),
                route("steady", limits=[steadily]),
                route("both-nodes", limits=[{"name": "both-nodes", "key": ["ip"], "rate": 20}]),
                route("both", limits=[limit(name, n, policy="strict") for name, n in (("a", 9), ("b", 4))]),
                route("marked", scenarios=[marks("e2e-marked", 45)]),
                route("again", scenarios=[marks("e2e-again", 20)]),
                route("other"),
                route("watched", block_private=True, scenarios=[scan]),
                route("briefly", block_private=True, scenarios=[{**briefly, "then": ["block"]}]),
            ],
        }


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory, redis_program: str) -> Iterator[list[Node]]:
    redis = RedisServer(redis_program, tmp_path_factory.mktemp("redis"))
    redis.start()
    made = [Node(tmp_path_factory.mktemp("n"), redis.url, processes) for processes in (4, 2)]
    try:
        for node in made:
            node.start()
        yield made
    finally:
        for node in made:
            node.close()
        redis.kill()


@pytest.fixture
def source() -> str:
    return next(SOURCES)


def asked(nodes: list[Node], path: str, source: str) -> list[Ask]:
    """Clients with one address, at each of the nodes."""
    return [partial(Client(node.proxy).once, path, source=source) for node in nodes]


def unanswered(nodes: list[Node]) -> float:
    """Requests that Redis did not answer in its 20 ms: the count of the node decided."""
    return steady(lambda: sum(node.metric("kgate_asks_unanswered_total") for node in nodes))


def test_four_workers_admit_exactly_the_limit(nodes: list[Node], source: str) -> None:
    wait_until(lambda: len(nodes[0].server_workers()) == 4, 30, "the workers")
    run = at_once(asked(nodes[:1], "/five/echo", source), 40)
    assert 5 - run.lost <= run.admitted <= 5
    assert run.lost < 5


def test_two_nodes_admit_no_more_than_one_burst_too_much(nodes: list[Node], source: str) -> None:
    # burst x (nodes - 1) + rate x 0.1 s; without a word of each other they would admit 2 x (20 + 20 x 2 s)
    run = for_seconds(asked(nodes, "/both-nodes/echo", source), 2)
    assert run.admitted <= (20 + 20 * run.most) + (20 + 20 * 0.1)
    assert run.admitted + run.lost >= 0.98 * (20 + 20 * run.least) - 1


def test_nodes_know_of_each_other_when_a_limit_is_used_up(nodes: list[Node], source: str) -> None:
    run = at_once(asked(nodes, "/local/echo", source), 100)
    assert 30 - run.lost <= run.admitted <= 30 + 30
    wait_until(
        lambda: at_once(asked(nodes, "/local/echo", source), 4).refused == 4, 2, "each knows of the other"
    )
    assert at_once(asked(nodes, "/local/echo", source), 20).admitted == 0


def test_a_strict_limit_holds_within_2_percent_over_all_workers_and_nodes(
    nodes: list[Node], source: str
) -> None:
    stood_still, begun, before = pauses(), time.monotonic(), unanswered(nodes)
    run = for_seconds(asked(nodes, "/steady/echo", source), 1.6)
    alone = unanswered(nodes) - before
    assert run.admitted <= 1.02 * (60 + 40 * run.most) + alone
    assert run.admitted + run.lost >= 0.98 * (60 + 40 * run.least) - 1
    if not stood_still.since(begun):
        # two nodes that count alone would admit 120 too many
        assert alone <= 60


def test_strict_limits_count_all_or_none(nodes: list[Node], source: str) -> None:
    # one node: where Redis does not answer in 20 ms its own count decides, which is exact too
    run = at_once(asked(nodes[:1], "/both/echo", source), 20)
    assert 4 - run.lost <= run.admitted <= 4
    assert run.lost < 4
    answer = Client(nodes[0].proxy, nodes[0])("/both/echo", source=source)
    left = int(answer.headers["ratelimit"].removeprefix('"a";r=').partition(";")[0])
    assert 5 - run.lost <= left <= 5, "what b refused cost nothing of a"


def test_a_mark_of_one_node_is_told_to_the_service_by_the_other(nodes: list[Node], source: str) -> None:
    def score(node: Node) -> list[str]:
        Client(node.proxy, node)("/other/echo", source=source)
        return node.upstreams["main"].seen[-1].values("X-Abuse-Score")

    assert score(nodes[1]) == []
    for _ in range(4):
        Client(nodes[0].proxy, nodes[0])("/marked/echo", source=source)
    for node in nodes:
        wait_until(lambda: score(node) == ['45;reasons="e2e-marked"'], 3, "the mark")  # noqa: B023 - called at once
    for _ in range(4):
        Client(nodes[1].proxy, nodes[1])("/again/echo", source=source)
    for node in nodes:
        wait_until(lambda: score(node) == ['65;reasons="e2e-marked e2e-again"'], 3, "both")  # noqa: B023


def test_counts_of_two_nodes_make_one_block_that_holds_on_both(nodes: list[Node], source: str) -> None:
    clients = [Client(node.proxy) for node in nodes]
    for number in range(16):
        clients[number % 2](f"/watched/{number}/status/404", source=source)
    for client in clients:
        wait_until(lambda: client("/watched/echo", source=source).reason == "ip_blocked", 3, "block")  # noqa: B023 - called at once
    assert clients[0]("/watched/echo", source=next(SOURCES)).status == 200


def test_who_offends_again_at_another_node_waits_longer(nodes: list[Node], source: str) -> None:
    first, second = (Client(node.proxy) for node in nodes)

    def is_blocked(client: Client) -> bool:
        return client("/other/echo", source=source).reason == "ip_blocked"

    for client in (first, second):
        for _ in range(4):
            # the second node may know of some of the first one's
            assert client("/briefly/echo", source=source).status in (200, 403)
        for each in (first, second):
            wait_until(lambda: is_blocked(each), 3, "the block")  # noqa: B023 - called at once
        if client is first:
            wait_until(lambda: not is_blocked(second), 5, "its end, after a second")
    found = json.loads(nodes[0].kgate("events", "list", "--kind", "block.add", "--output", "json").stdout)
    mine = [one["data"] for one in found if source in one["subject"]]
    assert [one["offence"] for one in mine] == [1, 2]
    assert mine[1]["ttl"] >= 54
