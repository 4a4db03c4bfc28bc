"""The guard: without a verdict a protected route is closed, whatever happened to the plugin server."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.e2e.client import Answer, Client
from tests.e2e.gateway import Gateway, token, wait_until

PLUGINS = {"secure": 2, "all": 4, "ended": 2}
"""Gate plugins of a route: each waits out Kong's read timeout of 0.3 s in the pdk lane."""


@pytest.fixture
def server(gateway: Gateway, client: Client) -> Iterator[Gateway]:
    """The plugin server may be killed or stopped here; it serves again afterwards."""
    yield gateway
    process = gateway.processes["server"]
    if process.poll() is None:
        gateway.signal_server(signal.SIGCONT)
    else:
        gateway.start_server()
    settle(client)


def settle(client: Client) -> None:
    """Each of Kong's workers has a breaker of its own: wait until all have found the server again."""

    def all_pass() -> bool:
        return all(client("/secure/echo", token=token()).status == 200 for _ in range(8))

    wait_until(all_pass, 8, "the server is back")


def closed(answer: Answer) -> None:
    assert answer.status == 503, answer.body
    assert answer.headers["content-type"].startswith("application/problem+json")


@pytest.mark.parametrize("route", PLUGINS)
def test_dead_is_closed_at_once(
    server: Gateway, client: Client, reached: Callable[[], int], route: str
) -> None:
    server.signal_server(signal.SIGKILL)
    for _ in range(5):
        answer = client(f"/{route}/echo", token=token())
        closed(answer)
        assert answer.seconds < 0.3
    assert reached() == 0


@pytest.mark.parametrize("route", PLUGINS)
def test_hung_is_closed_in_time_and_then_at_once(
    server: Gateway, client: Client, reached: Callable[[], int], route: str
) -> None:
    assert client("/secure/echo", token=token()).status == 200
    before = reached()
    server.signal_server(signal.SIGSTOP)
    limit = 0.5 if server.lane == "express" else 0.3 * PLUGINS[route] + 0.25

    def quick() -> bool:
        answer = client(f"/{route}/echo", token=token())
        closed(answer)
        assert answer.seconds < limit
        return answer.seconds < 0.15

    # each of Kong's workers opens its own breaker at its second miss
    wait_until(lambda: all(quick() for _ in range(4)), 10, "the breakers are open")
    assert reached() == before


def test_many_clients_of_a_hung_server_pass_never(
    server: Gateway, client: Client, reached: Callable[[], int]
) -> None:
    assert client("/secure/echo", token=token()).status == 200
    before = reached()
    server.signal_server(signal.SIGSTOP)
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: client("/secure/echo", token=token()), range(40)))
    assert {answer.status for answer in answers} == {503}
    assert reached() == before


class Load:
    """Clients that ask for one thing again and again, until the block ends; `answers` has what each got."""

    def __init__(self, client: Client, clients: int = 6) -> None:
        self._client, self._clients = client, clients
        self._stop = threading.Event()
        self.answers: list[Answer] = []

    def _ask(self) -> None:
        while not self._stop.is_set():
            self.answers.append(self._client("/secure/echo", token=token()))

    def __enter__(self) -> "Load":
        self._pool = ThreadPoolExecutor(self._clients)
        self._running = [self._pool.submit(self._ask) for _ in range(self._clients)]
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for each in self._running:
            each.result(30)
        self._pool.shutdown()

    def statuses(self) -> set[int]:
        return {answer.status for answer in self.answers}


def unverified(gateway: Gateway, since: int) -> int:
    """Requests to the protected routes that reached the upstream without a passport."""
    seen = gateway.upstreams["main"].seen[since:]
    return sum(1 for each in seen if not each.values("X-Passport"))


CHAOS = pytest.mark.chaos


@pytest.mark.parametrize("seconds", [pytest.param(0.1, marks=CHAOS), 0.45, pytest.param(1.2, marks=CHAOS)])
def test_a_stall_under_load_costs_503_at_most(server: Gateway, client: Client, seconds: float) -> None:
    """A late answer that reached another request would be Kong's 500, or another user's passport."""
    since = len(server.upstreams["main"].seen)
    with Load(client) as load:
        time.sleep(0.3)
        server.signal_server(signal.SIGSTOP)
        time.sleep(seconds)
        server.signal_server(signal.SIGCONT)
        time.sleep(1)
    assert load.statuses() <= {200, 503}
    assert load.answers[-1].status == 200, "it goes on by itself"
    assert unverified(server, since) == 0


@pytest.mark.parametrize(
    "what",
    [
        "worker killed",
        "reloaded",
        pytest.param("server killed", marks=CHAOS),
        pytest.param("configuration pushed", marks=CHAOS),
    ],
)
def test_under_load_nothing_passes_unverified(server: Gateway, client: Client, what: str) -> None:
    since = len(server.upstreams["main"].seen)
    with Load(client) as load:
        time.sleep(0.3)
        if what == "worker killed":
            os.kill(server.server_workers()[0], signal.SIGKILL)
        elif what == "server killed":
            server.signal_server(signal.SIGKILL)
            server.start_server()
        elif what == "reloaded":
            server.processes["server"].send_signal(signal.SIGHUP)
            time.sleep(1.5)
        elif server.mode == "dbless":
            config = server.config()
            config["services"][0]["tags"] = ["changed"]
            server.push(config)
            server.push(server.config())
        time.sleep(0.7)
    assert load.statuses() <= {200, 503}
    assert unverified(server, since) == 0
    # the sandbox is one process: while it takes a configuration it answers nobody in time
    if what == "reloaded" or (what == "configuration pushed" and server.given):
        assert [answer.body for answer in load.answers if answer.status != 200] == []


def test_after_a_restart_it_works_without_mixing_up_configs(server: Gateway, client: Client) -> None:
    server.signal_server(signal.SIGKILL)
    closed(client("/secure/echo", token=token()))
    server.start_server()
    took = wait_until(lambda: client("/secure/echo", token=token()).status == 200, 3, "working again")
    assert took < 2
    settle(client)
    assert client("/guarded/echo", source="127.9.3.4").status == 403
    assert client("/optional/echo").status == 200
    assert client("/secure/echo").status == 401


def test_a_route_that_may_fail_open_passes_with_a_mark(server: Gateway, client: Client) -> None:
    for _ in range(8):
        assert client("/open/echo").status == 200  # the instances are warm: cold ones are Kong's own 500
    server.signal_server(signal.SIGKILL)
    answer = client("/open/echo")
    assert answer.status == 200
    assert answer.headers["x-kgate-degraded"]


def test_routes_without_gate_plugins_do_not_need_the_server(server: Gateway, client: Client) -> None:
    server.signal_server(signal.SIGKILL)
    assert client("/plain/echo").status == 200


def test_a_plugin_below_the_guard_answers_only_who_may_pass(client: Client) -> None:
    assert client("/ended/echo").status == 401
    assert client("/ended/echo", token=token()).status == 418


@pytest.mark.usefixtures("operator")
def test_redis_killed_changes_nothing_for_users(gateway: Gateway, client: Client) -> None:
    assert gateway.redis is not None
    gateway.redis.kill()
    for _ in range(3):
        assert client("/secure/echo", token=token()).status == 200
        time.sleep(0.1)
    gateway.redis.start()
    gateway.kgate("block", "add", "127.0.0.99", "--ttl", "5m")
    wait_until(
        lambda: client("/secure/echo", token=token(), source="127.0.0.99").status == 403, 5, "followed again"
    )
    gateway.kgate("block", "rm", "127.0.0.99")
