"""sync on a Kong with a database: what is new and protected is never reached unverified, whenever kgate dies; and
after a sync the diff is empty for every plugin that the node has."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from cli.main import main
from decl.admin import AdminClient
from kong_plugins.kong_env import ADAPTER_DIR, kong_env
from tests.decl.db_node import DbNode, FaultProxy, db_node, fault_proxy
from tests.decl.plugin_configs import CONFIGS, document
from tests.e2e.client import Client
from tests.e2e.gateway import KGATE, Gateway, wait_until
from tests.e2e.given_node import GivenNode
from tests.e2e.upstream import Upstream

WRITES = 7
"""Of a first sync: the lock, two plugins of the adapter, the service, its passport, its route, the lock's end."""


Node = DbNode | GivenNode


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


class Shop:
    """A project with one protected service, and kgate in processes of its own."""

    def __init__(self, folder: Path, node: Node, proxy: FaultProxy, upstream: Upstream) -> None:
        self.folder, self.proxy = folder, proxy
        self.config: dict[str, Any] = {
            "_format_version": "3.0",
            "clusters": {"one": {"mode": "db", "nodes": [proxy.url], "proxy": [node.proxy]}},
            "issuers": [
                {"name": "main", "iss": "https://a", "audiences": ["shop"], "jwks_url": "http://127.0.0.1:9/"}
            ],
            "services": [
                {
                    "name": "cart",
                    "url": f"http://{upstream.address}",
                    "routes": [{"name": "cart", "paths": ["/cart"]}],
                    "plugins": [{"name": "passport", "config": {"issuers": ["main"]}}],
                }
            ],
        }

    def sync(self, kill_at: int = 0, *more: str) -> int:
        """The exit code of a sync that is killed when it sends its write number `kill_at`."""
        (self.folder / "gateway.yaml").write_text(json.dumps(self.config))
        arguments = ["-f", str(self.folder / "gateway.yaml"), "sync", "--yes", *more]
        ours = {"KGATE_HISTORY": str(self.folder / "history")}
        if not kill_at:
            self.proxy.begin()
            return CliRunner().invoke(main, arguments, env={**ours, "REDIS_URL": None}).exit_code
        env = {**os.environ, **ours}
        env.pop("REDIS_URL", None)
        command = [*KGATE, *arguments]
        started = threading.Event()
        process: list[subprocess.Popen[str]] = []

        def fault(number: int, method: str, path: str) -> str | None:
            started.wait(10)
            if number == kill_at:
                process[0].send_signal(signal.SIGKILL)
                process[0].wait()
                return "reset" if number % 2 else "lost"  # done, or not: both happen
            return None

        self.proxy.begin(fault)
        process.append(
            subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        )
        started.set()
        process[0].communicate(timeout=60)
        return process[0].returncode


@pytest.fixture
def shop(tmp_path: Path, node: Node, proxy: FaultProxy, upstream: Upstream) -> Shop:
    return Shop(tmp_path, node, proxy, upstream)


class Stranger:
    """Asks for the route without a token, again and again."""

    def __init__(self, node: Node) -> None:
        self._client, self._stop = Client(node.proxy), threading.Event()
        self.statuses: set[int] = set()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        while not self._stop.is_set():
            self.statuses.add(self._client("/cart").status)
            self._stop.wait(0.001)  # the node is in this process, and has its turn

    def __enter__(self) -> Stranger:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


@pytest.mark.parametrize("kill_at", range(WRITES + 1))
def test_nothing_new_is_reached_unverified(shop: Shop, node: Node, upstream: Upstream, kill_at: int) -> None:
    with Stranger(node) as stranger:
        code = shop.sync(kill_at)
        assert code == (-signal.SIGKILL if kill_at else 0)
        if kill_at:
            node.forget_lock()  # a minute goes by
            assert shop.sync() == 0
        wait_until(lambda: stranger.statuses & {401, 503} != set(), 12, "the route is there and guarded")
    assert upstream.seen == []
    # no route yet, or the gate: there is no plugin server here. Beside a given Kong there may be one, which refuses
    assert stranger.statuses <= {404, 503, *((401,) if isinstance(node, GivenNode) else ())}
    assert shop.proxy.writes >= 1


def test_protection_is_removed_last(shop: Shop, node: Node, upstream: Upstream) -> None:
    shop.sync()
    wait_until(lambda: Client(node.proxy)("/cart").status in (401, 503), 12, "it is protected")
    shop.config["services"][0].pop("plugins")
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
