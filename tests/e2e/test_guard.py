"""The guard: without a verdict a protected route is closed, whatever happened to the plugin server."""

import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.e2e.client import Answer, Client
from tests.e2e.gateway import Gateway, token, wait_until
from tests.e2e.load import Load, unverified
from tests.pace import within

PLUGINS = {"secure": 2, "all": 4, "ended": 2}
"""Gate plugins of a route: each waits out Kong's read timeout of 0.3 s in the pdk lane."""

LEASED_SECONDS = 0.15
"""So long a server that hangs may still vouch for what it said (leases, docs/protocol.md), and a little more."""


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


def test_without_the_server_and_after_its_restart(
    server: Gateway, client: Client, reached: Callable[[], int]
) -> None:
    """Closed at once, open with a mark where that is wanted; and no config is mixed up afterwards."""
    for _ in range(8):
        assert client("/open/echo").status == 200  # the instances are warm: cold ones are Kong's own 500
    before = reached()
    server.signal_server(signal.SIGKILL)
    for route in PLUGINS:
        answers = [client(f"/{route}/echo", token=token()) for _ in range(5)]
        for answer in answers:
            closed(answer)
        assert sorted(answer.seconds for answer in answers)[2] < within(0.3)
    assert reached() == before
    marked = client("/open/echo")
    assert marked.status == 200
    assert marked.headers["x-kgate-degraded"]
    assert client("/plain/echo").status == 200, "it has no gate plugin"
    server.start_server()
    wait_until(lambda: client("/secure/echo", token=token()).status == 200, 2, "working again")
    settle(client)
    assert client("/guarded/echo", source="127.9.3.4").status == 403
    assert client("/optional/echo").status == 200
    assert client("/secure/echo").status == 401


@pytest.mark.parametrize("route", PLUGINS)
def test_hung_is_closed_in_time_and_then_at_once(
    server: Gateway, client: Client, reached: Callable[[], int], route: str
) -> None:
    assert client("/secure/echo", token=token()).status == 200
    server.signal_server(signal.SIGSTOP)
    time.sleep(LEASED_SECONDS)
    before = reached()
    limit = within(0.5 if server.lane == "express" else 0.3 * PLUGINS[route] + 0.25)

    def quick() -> bool:
        answer = client(f"/{route}/echo", token=token())
        closed(answer)
        assert answer.seconds < limit
        return answer.seconds < 0.15

    # each of Kong's workers opens its own breaker at its second miss
    wait_until(lambda: all(quick() for _ in range(4)), 10, "the breakers are open")
    assert reached() == before


@pytest.mark.parametrize("route", ["secure", "all"])
def test_a_config_is_pushed_while_the_server_hangs_and_40_clients_come(
    server: Gateway, client: Client, reached: Callable[[], int], route: str
) -> None:
    """All instances are cold then. Kong alone starts them one at a time: the last of 40 waits for 12 s."""
    if server.mode != "dbless":
        pytest.skip("a whole configuration is posted to DB-less nodes only")
    path = f"/{route}/echo"
    assert client(path, token=token()).status == 200
    config = server.config()
    for service in config["services"]:
        for plugin in service["plugins"]:
            if plugin["name"] == "passport":
                plugin["config"] = {**plugin["config"], "ttl": 61}
    server.signal_server(signal.SIGSTOP)
    server.push(config)
    time.sleep(0.5)
    before = reached()
    with ThreadPoolExecutor(40) as pool:
        answers = list(pool.map(lambda _: client(path, token=token()), range(40)))
    for answer in answers:
        closed(answer)
    assert reached() == before
    slowest = max(answer.seconds for answer in answers)
    if server.lane == "express":
        assert slowest < within(0.6)
    else:
        assert slowest < within(2)
        later = [client(path, token=token()) for _ in range(6)]
        for answer in later:
            closed(answer)
        # every half second one request is a probe, which waits like the first ones
        assert sorted(answer.seconds for answer in later)[2] < within(0.3)
    assert reached() == before
    server.signal_server(signal.SIGCONT)
    server.push(server.config())
    settle(client)


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
        over = time.monotonic()
        time.sleep(1)
        wait_until(lambda: load.served_again(over) < 60, 1, "it goes on by itself")
    assert load.statuses() <= {200, 503}
    assert unverified(server, since) == 0


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
