"""Two runs at once, in each mode and with each lock: the second one is told, and changes nothing. And the history in
Redis, for machines that share nothing else."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import redis
from click.testing import CliRunner, Result

from cli import exit_codes, sync_run
from cli.main import main
from decl.admin import AdminClient
from decl.apply import EMPTY_CONFIG
from decl.lock import TTL
from tests.cli.test_sync_modes import Clock
from tests.decl.db_node import DbNode, FaultProxy, db_node, fault_proxy
from tests.redis_server import RedisServer

MODES = ("dbless", "db", "hybrid")
SETTINGS: dict[str, dict[str, str]] = {
    "dbless": {"KONG_DATABASE": "off"},
    "db": {},
    "hybrid": {"KONG_ROLE": "control_plane", "KONG_SANDBOX_DATA_PLANE_DELAY": "0ms"},
}


@pytest.fixture(scope="module")
def kongs() -> Iterator[Callable[[str], DbNode]]:
    """A node of each mode, started when the first test needs it."""
    made: dict[str, DbNode] = {}
    with ExitStack() as stack:

        def kong(mode: str) -> DbNode:
            if mode not in made:
                made[mode] = stack.enter_context(db_node(**SETTINGS[mode]))
            return made[mode]

        yield kong


class Shop:
    """A cluster of a name that nobody else has. `proxy` is before its node's Admin API."""

    def __init__(self, mode: str, kong: DbNode, proxy: FaultProxy) -> None:
        self.name, self.mode, self.kong, self.proxy = f"c{uuid.uuid4().hex[:8]}", mode, kong, proxy

    def write(self, host: str, node: str = "") -> None:
        """The files, with this host of the service. node: another way to the node than through the proxy."""
        cluster = {"mode": self.mode, "nodes": [node or self.proxy.url], "proxy": []}
        service = {"name": "cart", "url": f"http://{host}", "routes": [{"name": "cart", "paths": ["/cart"]}]}
        text = {"_format_version": "3.0", "clusters": {self.name: cluster}, "services": [service]}
        Path("gateway.yaml").write_text(json.dumps(text))

    def hosts(self) -> list[str]:
        """The services' hosts that the node has."""
        with AdminClient(self.kong.admin) as client:
            return [service["host"] for service in client.pages("/services")]

    def kinds(self) -> list[str]:
        """What is written to the node by now."""
        return [line.split("/")[1].partition("?")[0] for line in self.proxy.log]


@pytest.fixture
def shop(
    request: pytest.FixtureRequest,
    kongs: Callable[[str], DbNode],
    own_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Shop]:
    monkeypatch.setenv("KGATE_DEBUG", "1")
    monkeypatch.setenv("KGATE_ACTOR", "kim")
    monkeypatch.setattr(sync_run, "time", Clock())
    kong = kongs(request.param)
    if request.param == "dbless":
        with AdminClient(kong.admin) as client:
            client.post_config(EMPTY_CONFIG)
    else:
        kong.clear()
    with fault_proxy(kong.admin) as proxy:
        made = Shop(request.param, kong, proxy)
        made.write("one")
        yield made


@pytest.fixture
def at(redis_server: RedisServer) -> tuple[str, str]:
    return "--redis", redis_server.url


def kgate(*arguments: str, code: int = 0) -> Result:
    result = CliRunner().invoke(main, arguments, prog_name="kgate")
    assert result.exit_code == code, result.output
    return result


def meanwhile(shop: Shop, run: Callable[[], Any]) -> list[Any]:
    """What `run` gives at the first write of an entity, or at the push."""
    seen: list[Any] = []

    def fault(_: int, method: str, path: str) -> None:
        if not path.startswith("/upstreams") and not seen:
            seen.append(None)
            seen[0] = run()

    shop.proxy.begin(fault)
    return seen


def is_told(result: Result) -> None:
    assert result.exit_code == exit_codes.LOCK_HELD, result.output
    assert result.stdout == ""
    assert "kgate: another run holds the lock: kim@" in result.stderr
    assert "look with kgate status" in result.stderr


@pytest.mark.parametrize("command", ["sync", "rollback"])
@pytest.mark.parametrize("place", ["own", "redis"])
@pytest.mark.parametrize("shop", MODES, indirect=True)
def test_the_second_of_two_is_told(
    shop: Shop, place: str, at: tuple[str, str], command: str, tmp_path: Path
) -> None:
    where = at if place == "redis" else ()
    kgate("sync", "--yes", *where)
    shop.write("two")

    def second() -> Result:
        # with Redis it is another machine: it shares no folder
        folder = ("--history", str(tmp_path / "elsewhere")) if where else ()
        shop.write("three")
        before = shop.kinds()
        result = CliRunner().invoke(main, [command, "--yes", *where, *folder], prog_name="kgate")
        entities = [kind for kind in shop.kinds()[len(before) :] if kind != "upstreams"]
        shop.write("two")
        assert entities == [], "it writes nothing"
        return result

    seen = meanwhile(shop, second)
    kgate("sync", "--yes", *where)
    is_told(seen[0])
    assert shop.hosts() == ["two"]
    assert ("upstreams" in shop.kinds()) == (place == "own" and shop.mode != "dbless")
    shop.write("three")
    kgate("sync", "--yes", *where)  # it was given back
    assert shop.hosts() == ["three"]


@pytest.mark.parametrize("shop", ["dbless", "db"], indirect=True)
def test_a_lock_in_redis_ends_by_itself(shop: Shop, at: tuple[str, str], redis_server: RedisServer) -> None:
    key = f"kgate:decl:{shop.name}:lock"
    with redis.Redis.from_url(redis_server.url) as client:
        seen = meanwhile(shop, lambda: client.pttl(key))
        kgate("sync", "--yes", *at)
        assert 0 < seen[0] <= TTL * 1000
        assert not client.exists(key)
        # as a run that was killed leaves it
        client.hset(key, mapping={"token": "t", "holder": "lee@elsewhere pid 1", "fence": 7})
        told = kgate("sync", "--yes", *at, code=exit_codes.LOCK_HELD).stderr
        assert "another run holds the lock: lee@elsewhere pid 1" in told
        client.delete(key)
    kgate("sync", "--yes", *at)


@pytest.mark.parametrize("shop", MODES, indirect=True)
def test_rollback_with_the_history_in_redis(shop: Shop, at: tuple[str, str], tmp_path: Path) -> None:
    """From a machine that never synced."""
    for host in ("one", "two", "three"):
        shop.write(host)
        kgate("sync", "--yes", *at)
    here = (*at, "--history", str(tmp_path / "elsewhere"))
    kgate("rollback", "--yes", *here)
    assert shop.hosts() == ["two"]
    kgate("rollback", "--yes", "--to", "1", *here)
    assert shop.hosts() == ["one"]
    rows = json.loads(kgate("rollback", "--list", "--output", "json", *here).stdout)["history"]
    assert [(row["id"], row["result"]) for row in rows] == [(str(n), "changed") for n in range(1, 6)]
    assert [row["fence"] for row in rows] == [1, 2, 3, 4, 5]
    assert {row["actor"].partition("@")[0] for row in rows} == {"kim"}
    assert not (tmp_path / "history").exists()
    assert not (tmp_path / "elsewhere").exists()
    shop.write("one")
    assert kgate("diff", *here).stdout == f"cluster {shop.name}: no changes\n"


@pytest.mark.parametrize("shop", ["db"], indirect=True)
def test_a_rollback_takes_back_what_was_applied_when_it_has_the_lock(shop: Shop) -> None:
    """And not what was the last apply a moment before."""
    for host in ("one", "two"):
        shop.write(host)
        kgate("sync", "--yes")
    done: list[str] = []

    def fault(_: int, method: str, path: str) -> None:
        if not done:
            done.append(path)
            shop.write("three", shop.kong.admin)
            kgate("sync", "--yes")

    shop.proxy.begin(fault)
    kgate("rollback", "--yes")
    assert done[0].startswith("/upstreams"), "that is its lock"
    assert shop.hosts() == ["two"]


@pytest.mark.parametrize("shop", ["dbless"], indirect=True)
def test_redis_is_away(shop: Shop) -> None:
    away = ("--redis", "redis://127.0.0.1:9/0")
    for command in (("sync", "--yes"), ("rollback", "--yes")):
        assert "Redis: " in kgate(*command, *away, code=exit_codes.FAILED).stderr
    assert shop.proxy.log == []
