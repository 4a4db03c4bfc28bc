"""A DB-less node that lost its config serves as before, without a manual step: by a watch, or by a boot file. Nobody
reaches the protected route unverified meanwhile."""

from __future__ import annotations

import hashlib
import http.client
import json
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import requests

from tests.e2e.client import Client
from tests.e2e.gateway import KGATE, Gateway, token, wait_until
from tests.e2e.load import unverified

EMPTY = {"_format_version": "3.0"}
FOREIGN = {
    "_format_version": "3.0",
    "services": [
        {"name": "other", "url": "http://127.0.0.1:9", "routes": [{"name": "other", "paths": ["/other"]}]}
    ],
}
WAYS = ["emptied", "foreign", "restarted"]


class Strangers:
    """Ask for a protected route without a token and with a forged passport, until the block ends."""

    def __init__(self, client: Client, path: str = "/secure/echo") -> None:
        self._client, self._path, self._stop = client, path, threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.statuses: set[int] = set()
        """0 is no answer at all."""

    def _run(self) -> None:
        while not self._stop.is_set():
            for headers in ({}, {"X-Passport": "forged"}, {"Authorization": "Bearer x.y.z"}):
                try:
                    self.statuses.add(self._client.once(self._path, headers=headers).status)
                except (OSError, http.client.HTTPException):
                    self.statuses.add(0)
            self._stop.wait(0.005)

    def __enter__(self) -> Strangers:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


def only_where_it_can(gateway: Gateway, restarted: bool) -> None:
    if gateway.mode != "dbless":
        pytest.skip("with a database a node has nothing to lose")
    if restarted and gateway.given and gateway.restart is None:
        pytest.skip("a given Kong is started again by --kong-restart only")
    if restarted and gateway.nodes > 1:
        pytest.skip("the other nodes' ports would be other ones")


def lose(gateway: Gateway, way: str) -> None:
    if way == "restarted":
        gateway.restart_kong()
    else:
        answer = gateway.post_raw(EMPTY if way == "emptied" else FOREIGN)
        assert answer.status_code == 201, answer.text


def held(gateway: Gateway) -> str | None:
    """The hash of the node's config, None while it does not tell."""
    try:
        status = requests.get(f"{gateway.admin}/status", timeout=5).json()
    except (requests.RequestException, ValueError):
        return None
    found: str = status["configuration_hash"]
    return found


def served(client: Client) -> bool:
    """By every worker: each takes a config by itself, and each connection may reach another one."""
    try:
        return all(client.once("/secure/echo", token=token()).status == 200 for _ in range(12))
    except (OSError, http.client.HTTPException):
        return False


def refused(client: Client) -> bool:
    return all(client("/secure/echo").status == 401 for _ in range(12))


NO_PASS = {0, 401, 404, 503}
"""All that a stranger may be told on the way."""


@contextmanager
def watching(gateway: Gateway) -> Iterator[str]:
    """`kgate sync --wait-new` runs beside; gives the hash that it sees to."""
    command = [*KGATE, "-f", str(gateway.dir / "gateway.yaml"), "sync", "--yes", "--wait-new"]
    with (
        (gateway.dir / "watch.log").open("w") as log,
        subprocess.Popen(
            [*command, "--output", "json"], stdout=subprocess.PIPE, stderr=log, text=True, env=gateway.env
        ) as process,
    ):
        assert process.stdout is not None
        try:
            first = process.stdout.readline()
            assert first, gateway.log("watch")
            yield json.loads(first)["hash"]
            assert process.poll() is None, gateway.log("watch")
        finally:
            process.terminate()


@pytest.fixture
def protected(gateway: Gateway, client: Client) -> Iterator[None]:
    """All nodes are in sync, and have the tests' own config again afterwards."""
    if gateway.mode == "dbless":
        gateway.push(gateway.config())
        assert client("/secure/echo", token=token()).status == 200
        assert client("/secure/echo").status == 401
    yield
    if gateway.mode == "dbless":
        gateway.push(gateway.config())


@pytest.mark.usefixtures("protected")
@pytest.mark.parametrize("way", WAYS)
def test_a_watch_gives_it_back(gateway: Gateway, client: Client, way: str) -> None:
    only_where_it_can(gateway, way == "restarted")
    since = len(gateway.upstreams["main"].seen)
    with watching(gateway) as wanted, Strangers(client) as strangers:
        assert held(gateway) == wanted
        wait_until(lambda: 401 in strangers.statuses, 5, "strangers are refused")
        lose(gateway, way)
        wait_until(lambda: strangers.statuses & {0, 404} != set(), 5, "the config is lost")
        wait_until(lambda: held(gateway) == wanted, 10, "the watch has pushed it")
        wait_until(lambda: served(client), 10, "users are served again")
    assert refused(client)
    assert strangers.statuses <= NO_PASS
    assert unverified(gateway, since) == 0


def told(client: Client, paths: list[str], work: Callable[[], object]) -> set[int]:
    """What strangers are told at these paths, before, during and after the work that brings them."""
    with ExitStack() as stack:
        strangers = [stack.enter_context(Strangers(client, path)) for path in paths]
        wait_until(lambda: all(404 in one.statuses for one in strangers), 5, "the config is lost")
        work()
        wait_until(lambda: all(401 in one.statuses for one in strangers), 10, "it is there again")
    return set().union(*(one.statuses for one in strangers))


@pytest.mark.usefixtures("protected")
def test_no_route_is_open_while_an_empty_node_gets_many(gateway: Gateway, client: Client) -> None:
    """Kong serves new routes with the plugins of the config before for some milliseconds, the longer the more they
    are: with 300 routes on a Kong 3.9.3, 36 requests of 99,000 went by in ten pushes."""
    only_where_it_can(gateway, restarted=False)
    config = gateway.config()
    secure = next(each for each in config["services"] if any(r["name"] == "secure" for r in each["routes"]))
    many = [
        {
            **secure,
            "name": f"many-{n}",
            "routes": [{**secure["routes"][0], "name": f"many-{n}", "paths": [path]}],
        }
        for n, path in enumerate(f"/many-{n}" for n in range(200))
    ]
    gateway.push({**config, "services": [*config["services"], *many]})
    since = len(gateway.upstreams["main"].seen)
    files = ("-f", str(gateway.dir / "gateway.yaml"))
    paths = [f"/many-{n}/echo" for n in (0, 50, 100, 150, 199)]
    for _ in range(2):
        lose(gateway, "emptied")
        assert told(client, paths, lambda: gateway.kgate(*files, "sync", "--yes")) <= NO_PASS
    assert unverified(gateway, since) == 0


@pytest.mark.usefixtures("protected")
def test_a_node_boots_from_what_render_wrote(gateway: Gateway, client: Client, tmp_path: Path) -> None:
    only_where_it_can(gateway, restarted=True)
    since, boot = len(gateway.upstreams["main"].seen), tmp_path / "kong.json"
    files = ("-f", str(gateway.dir / "gateway.yaml"))
    gateway.kgate(*files, "render", "--cluster", "test", "-o", str(boot))
    with Strangers(client) as strangers:
        wait_until(lambda: 401 in strangers.statuses, 5, "strangers are refused")
        strangers.statuses.clear()
        gateway.restart_kong(boot)
        wait_until(lambda: served(client), 10, "users are served again, and nobody pushed anything")
    assert refused(client)
    assert strangers.statuses <= NO_PASS
    assert unverified(gateway, since) == 0
    assert held(gateway) == hashlib.md5(boot.read_bytes()).hexdigest()
    again = gateway.kgate(*files, "sync", "--yes", "--output", "json")
    assert [node["state"] for node in json.loads(again.stdout)["nodes"]] == ["unchanged"] * len(
        gateway.admins
    )
