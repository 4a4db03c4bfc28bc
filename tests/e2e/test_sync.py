"""sync on a Kong with a database: what is new and protected is never reached unverified, whenever kgate dies; and
after a sync the diff is empty for every plugin that the node has."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable, Iterator
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import pytest
from click.testing import CliRunner

from cli.main import main
from decl.admin import AdminClient
from kong_plugins.kong_env import ADAPTER_DIR, kong_env
from tests.decl.db_node import FaultProxy, db_node, fault_proxy
from tests.decl.plugin_configs import CONFIGS, document
from tests.e2e.client import Client
from tests.e2e.gateway import Gateway, wait_until
from tests.e2e.given_node import GivenNode
from tests.e2e.sync_shop import PASSPORT, Node, Shop, Stranger
from tests.e2e.upstream import Upstream

WRITES = 7
"""Of a first sync: the lock, two plugins of the adapter, the service, its passport, its route, the lock's end."""


REFUSED = {401, 503}
"""The gate: there is no plugin server here. Beside a given Kong there may be one, which answers 401."""

OTHER_HEADER = {"name": "passport", "config": {"issuers": ["main"], "header": "X-Other"}}
"""The adapter strips what passports are sent in."""


def plain(status: int) -> int:
    """A refusal is a 503."""
    return 503 if status in REFUSED else status


def changes(stranger: Stranger, node: Node) -> list[int]:
    """What it got, a row of the same answers as one. Of several workers each follows the database on its own: there
    only what came first counts, and what came later that was not there before."""
    got = [status for status, _ in groupby(map(plain, stranger.answers))]
    return got if node.workers == 1 else list(dict.fromkeys(got))


@pytest.fixture(scope="module")
def shared(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    gateways: dict[str, Gateway],
) -> Iterator[Node]:
    admin, proxy = request.config.getoption("--kong-admin"), request.config.getoption("--kong-proxy")
    if admin and request.config.getoption("--kong-mode") == "db":
        given = GivenNode(admin, proxy)
        yield given
        given.clear()
        for gateway in gateways.values():
            gateway.push(gateway.config())
        return
    env = kong_env(tmp_path_factory.mktemp("run"), "express", ADAPTER_DIR, "kong")
    env |= {"KONG_PROXY_LISTEN": "127.0.0.1:0", "KONG_ADMIN_LISTEN": "127.0.0.1:0"}
    # each write is in force at once: every state on the way is seen by requests
    with db_node(**{**env, "KONG_SANDBOX_PROPAGATION": "0ms"}) as node:
        yield node


@pytest.fixture
def node(shared: Node) -> Node:
    shared.clear()
    return shared


@pytest.fixture
def proxy(node: Node) -> Iterator[FaultProxy]:
    with fault_proxy(node.admin) as made:
        yield made


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    made = Upstream("main")
    yield made
    made.close()


@pytest.fixture
def shop(tmp_path: Path, node: Node, proxy: FaultProxy, upstream: Upstream) -> Shop:
    return Shop(tmp_path, node, proxy, upstream)


@pytest.mark.parametrize("kill_at", range(WRITES + 1))
def test_nothing_new_is_reached_unverified(shop: Shop, node: Node, upstream: Upstream, kill_at: int) -> None:
    with Stranger(node) as stranger:
        assert shop.sync(kill_at) == (-signal.SIGKILL if kill_at else 0)
        assert kill_at or shop.proxy.writes == WRITES
        stranger.ask()
        assert not kill_at or shop.again() == 0
        wait_until(lambda: stranger.statuses & REFUSED != set(), 15, "the route is there and guarded")
        stranger.ask()
    assert upstream.seen == []
    assert stranger.statuses <= {404, *REFUSED}


def test_a_route_that_is_there_before_its_passport(shop: Shop, node: Node, upstream: Upstream) -> None:
    """Both are written at once, and either may be first."""
    end = time.monotonic() + 15

    def busy(number: int, method: str, path: str) -> str | None:
        passport = path.startswith("/plugins") and number > 3  # the first ones are the lock and the adapter
        return "busy" if passport and not stranger.statuses & REFUSED and time.monotonic() < end else None

    with Stranger(node) as stranger:
        assert shop.sync(fault=busy) == 0
        assert stranger.statuses & REFUSED, "default deny"
    assert upstream.seen == []
    assert changes(stranger, node) == [404, 503]


class Move(NamedTuple):
    """A change of a gateway that is in use. writes: how many there are, with three of the lock: the old one is
    deleted, a new one is made, and ended. answers: what a stranger gets, before and after."""

    writes: int
    before: Callable[[Shop], None]
    change: Callable[[Shop], None]
    answers: tuple[int, ...]


def fill(shop: Shop) -> None:
    """Others are there, and the route is not."""
    shop.config["services"] = [shop.service("list"), shop.service("menu", plugins=[PASSPORT])]


def as_it_is(shop: Shop) -> None:
    """It is there, protected."""


def unprotect(shop: Shop) -> None:
    shop.cart.pop("plugins")


def protect(shop: Shop) -> None:
    shop.cart["plugins"] = [PASSPORT]


MOVES = {
    "a protected route comes": Move(6, fill, lambda shop: shop.config["services"].append(shop.cart), (404, 503)),
    "an open route is protected": Move(5, unprotect, protect, (200, 503)),
    "the adapter has another config": Move(
        5, as_it_is, lambda shop: shop.cart.update(plugins=[OTHER_HEADER]), (503,)
    ),
    "protection ends": Move(5, as_it_is, unprotect, (503, 200)),
}  # fmt: skip


@pytest.mark.parametrize(
    ("move", "kill_at"),
    [
        pytest.param(move, number, id=f"{name}, {number}")
        for name, move in MOVES.items()
        for number in range(move.writes + 1)
    ],
)
def test_a_filled_gateway_is_never_open_on_its_way(
    shop: Shop, node: Node, upstream: Upstream, move: Move, kill_at: int
) -> None:
    few = ("--max-deletes", "5")
    move.before(shop)
    assert shop.sync() == 0
    node.settle()
    ask = Client(node.proxy)
    wait_until(lambda: plain(ask("/cart").status) == move.answers[0], 15, "it is as before")
    upstream.seen.clear()
    with Stranger(node) as stranger:
        stranger.ask()
        move.change(shop)
        assert shop.sync(kill_at, *few) == (-signal.SIGKILL if kill_at else 0)
        assert kill_at or shop.proxy.writes == move.writes
        stranger.ask()
        if shop.is_protected() and move.answers[0] != 200:
            assert upstream.seen == [], "default deny ends last"
        assert not kill_at or shop.again(*few) == 0
        wait_until(lambda: plain(stranger.answers[-1]) == move.answers[-1], 15, "it is in force")
        stranger.ask()
    assert changes(stranger, node) == list(move.answers)
    assert len(upstream.seen) == stranger.answers.count(200)


def test_protection_is_removed_last(shop: Shop, node: Node, upstream: Upstream) -> None:
    shop.sync()
    wait_until(lambda: Client(node.proxy)("/cart").status in (401, 503), 12, "it is protected")
    unprotect(shop)
    assert shop.sync(0, "--max-deletes", "5") == 0
    done = [line for line in shop.proxy.log if "upstreams" not in line]
    assert [line.split("/")[0].strip() for line in done] == ["DELETE", "PUT"]
    assert "/plugins/" in done[0]
    assert "/routes/" in done[1]
    wait_until(lambda: Client(node.proxy)("/cart").status == 200, 12, "it is open")


def test_diff_is_empty_after_sync(
    shop: Shop, node: Node, proxy: FaultProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For every bundled plugin that the node has, its smallest config and its full one."""
    monkeypatch.setenv("KGATE_HISTORY", str(tmp_path / "history"))
    monkeypatch.delenv("REDIS_URL", raising=False)
    with AdminClient(node.admin) as client:
        enabled = set(client.get("/plugins/enabled")["enabled_plugins"])
    assert enabled & set(CONFIGS)
    config = {
        **document(enabled),
        "clusters": {"one": {**shop.config["clusters"]["one"], "trusted_ips": []}},
    }
    (tmp_path / ".kgate.yaml").write_text("rules: {proxy-cache-with-passport: off}\n")
    path = tmp_path / "all.yaml"
    path.write_text(json.dumps(config))
    for arguments in (["sync", "--yes"], ["diff"]):
        result = CliRunner().invoke(main, ["-f", str(path), *arguments])
        assert result.exit_code == 0, result.output
