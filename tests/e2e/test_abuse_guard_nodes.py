"""Limits and scenarios over several workers and two nodes with one Redis. On the sandbox: a given Kong is one."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.client import Client
from tests.e2e.gateway import Gateway, wait_until
from tests.redis_server import RedisServer

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(180)]
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

        scan = {"use": "path-scan", "capacity": 9, "ttl": 60}
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
                route("strict", limits=[limit("nodes-strict", 300, policy="strict")]),
                route("both", limits=[limit(name, n, policy="strict") for name, n in (("a", 9), ("b", 4))]),
                route("watched", block_private=True, scenarios=[scan]),
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


def passed(nodes: list[Node], path: str, count: int, source: str) -> int:
    """How many of so many requests are answered well, sent to the nodes in turn and many at once."""
    clients = cycle([Client(node.proxy) for node in nodes])
    turns = [next(clients) for _ in range(count)]
    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(lambda client: client(path, source=source).status, turns)).count(200)


def one_of_three(holds: Callable[[str], object]) -> None:
    """That holds for an address that nobody used, of three at least for one.

    Where the machine does other things, an answer of Redis may come after its 20 ms, and Kong may not wait for one
    of the server's (503): what was counted for it is lost to the client.
    """
    for _ in range(2):
        with suppress(AssertionError):
            holds(next(SOURCES))
            return
    holds(next(SOURCES))


def test_four_workers_admit_exactly_the_limit(nodes: list[Node]) -> None:
    wait_until(lambda: len(nodes[0].server_workers()) == 4, 30, "the workers")

    found = []

    def holds(source: str) -> None:
        found.append(passed(nodes[:1], "/five/echo", 40, source))
        assert found[-1] == 5

    one_of_three(holds)
    assert max(found) == 5, "never more"


def test_two_nodes_admit_no_more_than_one_burst_too_much(nodes: list[Node]) -> None:
    # burst x (nodes - 1) + rate x 0.1 s
    def holds(source: str) -> None:
        assert 30 <= passed(nodes, "/local/echo", 100, source) <= 30 + 30
        wait_until(lambda: passed(nodes, "/local/echo", 2, source) == 0, 2, "each knows of the other")
        assert passed(nodes, "/local/echo", 20, source) == 0

    one_of_three(holds)


def test_a_strict_limit_holds_within_2_percent_over_all_workers_and_nodes(nodes: list[Node]) -> None:
    def holds(source: str) -> None:
        assert 294 <= passed(nodes, "/strict/echo", 400, source) <= 306

    one_of_three(holds)


def test_strict_limits_count_all_or_none(nodes: list[Node]) -> None:
    found = []

    def holds(source: str) -> None:
        # one node: where Redis does not answer in 20 ms its own count decides, which is exact too
        found.append(passed(nodes[:1], "/both/echo", 20, source))
        assert found[-1] == 4
        answer = Client(nodes[0].proxy)("/both/echo", source=source)
        assert answer.headers["ratelimit"].startswith('"a";r=5;'), "what b refused cost nothing of a"

    one_of_three(holds)
    assert max(found) == 4, "never more"


def test_counts_of_two_nodes_make_one_block_that_holds_on_both(nodes: list[Node], source: str) -> None:
    clients = [Client(node.proxy) for node in nodes]
    for number in range(16):
        clients[number % 2](f"/watched/{number}/status/404", source=source)
    for client in clients:
        wait_until(lambda: client("/watched/echo", source=source).reason == "ip_blocked", 3, "block")  # noqa: B023 - called at once
    assert clients[0]("/watched/echo", source=next(SOURCES)).status == 200
