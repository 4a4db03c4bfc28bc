"""Protected routes come after the adapter: sync sees it live on the proxies, or waits as long as Kong may need."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from click.testing import CliRunner

from cli import exit_codes, sync_run
from cli.main import main
from decl.http import Pool
from decl.probe import CONNECTIONS, PATH, WAIT
from kong_plugins.kong_env import ADAPTER_DIR, kong_env
from tests.decl.db_node import DbNode, FaultProxy, Store, db_node, fault_proxy
from tests.http_stub import answering

FREQUENCY = 300.0
"""Seconds: nothing is in force before a test says so."""


class Event(NamedTuple):
    """What a node was asked. at: seconds of the clock. port: the client's, tells connections apart. found: the
    adapter's hash in the answer to a probe."""

    what: str
    at: float
    port: int = 0
    found: str | None = None


class Clock:
    """Goes on by what is slept, and by a hundred times of it where only the end matters."""

    def __init__(self) -> None:
        self.now, self.pace = 0.0, 1.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds * self.pace


class World:
    """A node with a database, and before its Admin API and its proxy what notes each write and each probe in one
    list. `probed` is called before the probe of that number, from 1 on."""

    def __init__(self, node: DbNode, admin: FaultProxy, clock: Clock) -> None:
        self.node, self.admin, self.clock = node, admin, clock
        self.events: list[Event] = []
        self.proxy = ""
        self.probes = 0
        self.begin()

    def begin(self, probed: Callable[[int], None] = lambda number: None) -> None:
        """Count from 1 again."""
        self.probed, self.probes = probed, 0
        self.events.clear()

        def note(_: int, method: str, path: str) -> None:
            if "upstreams" not in path:  # the lock is one
                self.events.append(Event(f"{method} {path.split('/')[1]}", self.clock.now))

        self.admin.begin(note)

    def probe(self, port: int) -> tuple[int, bytes]:
        self.probes += 1
        self.probed(self.probes)
        pool = Pool(self.node.proxy, {"Connection": "close"})
        answer = pool.request("GET", PATH)
        pool.close()
        found = json.loads(answer.body).get("config")
        self.events.append(Event("probe", self.clock.now, port, found))
        return answer.status, answer.body

    def live_at(self, number: int) -> Callable[[int], None]:
        """What is in the database is in force at that probe."""
        return lambda seen: self.node.use() if seen == number else None


@contextlib.contextmanager
def front(world: World) -> Iterator[None]:
    """Serves the proxy that the probes go to."""
    with answering(lambda request: world.probe(request.client_address[1])) as world.proxy:
        yield


@pytest.fixture(scope="module")
def late(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DbNode]:
    """Its proxy does not follow its database by itself."""
    env = kong_env(tmp_path_factory.mktemp("run"), "express", ADAPTER_DIR, "kong")
    env |= {"KONG_PROXY_LISTEN": "127.0.0.1:0", "KONG_ADMIN_LISTEN": "127.0.0.1:0"}
    with db_node(**{**env, "KONG_SANDBOX_PROPAGATION": f"{FREQUENCY:g}s"}) as node:
        yield node


@pytest.fixture
def world(late: DbNode, own_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    clock = Clock()
    monkeypatch.setattr(sync_run, "time", clock)
    monkeypatch.setenv("KGATE_DEBUG", "1")
    late.store = Store()
    late.use()
    with fault_proxy(late.admin) as admin:
        made = World(late, admin, clock)
        with front(made):
            yield made


def sync(world: World, code: int = 0, header: str = "X-Passport", **cluster: Any) -> str:
    """What a sync says that ends with this code."""
    project = {
        "_format_version": "3.0",
        "clusters": {"one": {"mode": "db", "nodes": [world.admin.url], "proxy": [world.proxy], **cluster}},
        "issuers": [{"name": "main", "iss": "https://a", "audiences": ["s"], "jwks_url": "http://127.0.0.1:9/"}],
        "services": [
            {
                "name": "cart",
                "url": "http://cart",
                "routes": [{"name": "cart", "paths": ["/cart"]}],
                "plugins": [{"name": "passport", "config": {"issuers": ["main"], "header": header}}],
            }
        ],
    }  # fmt: skip
    Path("gateway.yaml").write_text(json.dumps(project))
    result = CliRunner().invoke(main, ["sync", "--yes"], prog_name="kgate")
    assert result.exit_code == code, result.output
    return result.stdout


def shown(world: World) -> tuple[list[Event], list[Event], list[Event]]:
    """What was written before the probes, the probes, and what was written after them."""
    numbers = [number for number, event in enumerate(world.events) if event.what == "probe"]
    first, end = numbers[0], numbers[-1] + 1
    assert numbers == list(range(first, end)), "nothing is written between probes"
    return world.events[:first], world.events[first:end], world.events[end:]


def test_a_new_adapter_is_seen_on_new_connections_before_anything_else_is_written(world: World) -> None:
    world.begin(world.live_at(5))
    sync(world)
    before, probes, after = shown(world)
    assert [event.what for event in before] == ["PUT plugins"] * 2
    assert [event.found for event in probes[:4]] == [None] * 4
    (live,) = {event.found for event in probes[4:]}
    assert live is not None
    assert len(probes[4:]) == CONNECTIONS == 20
    assert len({event.port for event in probes}) == len(probes), "each on a connection of its own"
    assert sorted(event.what for event in after) == ["PUT plugins", "PUT routes", "PUT services"]


def test_a_changed_adapter_is_seen_with_its_new_config(world: World) -> None:
    world.begin(world.live_at(1))
    sync(world)
    world.begin(world.live_at(8))
    sync(world, header="X-Other")
    before, probes, after = shown(world)
    assert [event.what for event in before] == ["PUT plugins"]
    (old,) = {event.found for event in probes[:7]}
    (new,) = {event.found for event in probes[7:]}
    assert None is not old != new is not None
    assert len(probes[7:]) == CONNECTIONS
    assert [event.what for event in after] == ["PUT plugins"]


def refused(told: str, why: str) -> None:
    assert f"{PATH}: {why} after {WAIT:g} s; protected routes were not written" in told


def test_an_adapter_that_never_answers(world: World) -> None:
    world.clock.pace = 100
    told = sync(world, exit_codes.ROLLED_BACK)
    refused(told, "no adapter answers")
    assert world.clock.now >= WAIT
    assert {event.found for event in world.events if event.what == "probe"} == {None}
    assert {event.what for event in world.events} == {"PUT plugins", "probe", "DELETE plugins"}
    assert not any(world.node.state().values())


def test_an_adapter_that_keeps_its_old_config(world: World) -> None:
    world.begin(world.live_at(1))
    sync(world)
    before = world.node.state()
    world.begin()
    world.clock.pace = 100
    refused(sync(world, exit_codes.ROLLED_BACK, header="X-Other"), "the adapter has another config")
    assert {event.what for event in world.events} == {"PUT plugins", "probe"}
    assert world.node.state() == before


def test_one_of_two_proxies_has_no_adapter(world: World) -> None:
    world.begin(world.live_at(1))
    world.clock.pace = 100
    away = "http://127.0.0.1:9"
    told = sync(world, exit_codes.ROLLED_BACK, proxy=[world.proxy, away])
    refused(told, "no adapter answers")
    assert away + PATH in told
    assert not any(world.node.state().values())


def test_what_another_run_left_in_the_database_is_not_believed(world: World) -> None:
    """It was killed after the adapter: that is there, and not in force."""
    world.begin(world.live_at(1))
    sync(world)
    kept = {
        key: item for key, item in world.node.store.entities["plugins"].items() if "kgate" in item["name"]
    }
    world.node.store = Store()
    world.node.use()
    for plugin in kept.values():
        world.node.store = world.node.store.having("plugins", plugin)
    world.begin()
    world.clock.pace = 100
    refused(sync(world, exit_codes.FAILED), "no adapter answers")
    assert {event.what for event in world.events} == {"probe"}
    assert {plugin["name"] for plugin in world.node.state()["plugins"].values()} == {"kgate", "kgate-facts"}
    assert not world.node.state()["routes"]


@pytest.mark.parametrize("answers", [True, False], ids=["its frequencies", "no frequencies: Kong's defaults"])
def test_without_a_proxy_nothing_else_is_written_before_kong_surely_follows(
    world: World, answers: bool
) -> None:
    forward = world.admin.answer

    def broken(handler: BaseHTTPRequestHandler) -> None:
        if handler.path == "/" and not answers:
            handler.send_error(500)  # as Kong 3.9 while an external plugin server runs
        else:
            forward(handler)

    world.admin.answer = broken  # type: ignore[method-assign]
    sync(world, proxy=[])
    assert [event.what for event in world.events[:2]] == ["PUT plugins"] * 2
    adapter = max(event.at for event in world.events[:2])
    needed = 2 * (FREQUENCY if answers else 5.0) + 1.0
    assert len(world.events) == 5
    assert min(event.at for event in world.events[2:]) - adapter == pytest.approx(needed)
