"""A project with one service, kgate that is killed at a write, and a client that asks all the while."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from cli.main import main
from decl.admin import AdminClient
from decl.render import PROTECTED_TAG
from tests.decl.db_node import DbNode, FaultProxy
from tests.decl.faults.killed import Victim
from tests.decl.faults.runs import kgate
from tests.e2e.client import Client
from tests.e2e.given_node import GivenNode
from tests.e2e.upstream import Upstream

Node = DbNode | GivenNode
Fault = Callable[[int, str, str], str | None]

PASSPORT: dict[str, Any] = {"name": "passport", "config": {"issuers": ["main"]}}


class Shop:
    """The project; `cart` is its service, protected at first."""

    def __init__(self, folder: Path, node: Node, proxy: FaultProxy, upstream: Upstream) -> None:
        self.folder, self.node, self.proxy, self._address = folder, node, proxy, upstream.address
        self.cart = self.service("cart", plugins=[PASSPORT])
        self.config: dict[str, Any] = {
            "_format_version": "3.0",
            "clusters": {"one": {"mode": "db", "nodes": [proxy.url], "proxy": [node.proxy]}},
            "issuers": [
                {"name": "main", "iss": "https://a", "audiences": ["shop"], "jwks_url": "http://127.0.0.1:9/"}
            ],
            "services": [self.cart],
        }

    def service(self, name: str, **more: Any) -> dict[str, Any]:
        """A service with a route of its own, open if nothing else is said."""
        routes = [{"name": name, "paths": [f"/{name}"]}]
        return {"name": name, "url": f"http://{self._address}", "routes": routes, **more}

    def sync(self, kill_at: int = 0, *more: str, fault: Fault = lambda *_: None) -> int:
        """The exit code of a sync that is killed when it sends its write number `kill_at`. fault: of one that is not
        killed."""
        (self.folder / "gateway.yaml").write_text(json.dumps(self.config))
        arguments = ["-f", str(self.folder / "gateway.yaml"), "sync", "--yes", *more]
        history = str(self.folder / "history")
        if not kill_at:
            self.proxy.begin(fault)
            ours = {"KGATE_HISTORY": history, "REDIS_URL": None}
            return CliRunner().invoke(main, arguments, env=ours).exit_code
        victim = Victim(kgate, arguments, history)

        def die(number: int, method: str, path: str) -> str | None:
            if number == kill_at:
                victim.kill()
                return "reset" if number % 2 else "lost"  # done, or not: both happen
            return None

        self.proxy.begin(die)
        victim.start()
        code = victim.end()
        server = self.proxy.server
        assert server is not None
        server.settled()
        return code if code is not None else 0

    def again(self, *more: str) -> int:
        """The exit code of the sync after one that was killed; a minute has gone by."""
        self.node.forget_lock()
        return self.sync(0, *more)

    def is_protected(self) -> bool:
        """What the database says of the route."""
        with AdminClient(self.node.admin) as client:
            routes = {route["name"]: route for route in client.pages("/routes")}
        return PROTECTED_TAG in (routes.get("cart", {}).get("tags") or ())


class Stranger:
    """Asks for /cart without a token, again and again, and knows what it got, one answer after the other."""

    def __init__(self, node: Node) -> None:
        self._client, self._stop = Client(node.proxy), threading.Event()
        self._got = threading.Condition()
        self.answers: list[int] = []
        self._thread = threading.Thread(target=self._run)

    @property
    def statuses(self) -> set[int]:
        return set(self.answers)

    def ask(self, times: int = 3) -> None:
        """Return when it has asked so often after now."""
        with self._got:
            wanted = len(self.answers) + times + 1  # one may be on its way
            assert self._got.wait_for(lambda: len(self.answers) >= wanted, 20)

    def _run(self) -> None:
        while not self._stop.is_set():
            status = self._client("/cart").status
            with self._got:
                self.answers.append(status)
                self._got.notify_all()
            self._stop.wait(0.001)  # the node is in this process, and has its turn

    def __enter__(self) -> Stranger:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
