"""A gateway with what abuse-guard finds on routes of its own, behind a proxy where that can be.

The sandbox trusts the loopback network, and so may a given Kong (KONG_TRUSTED_IPS=127.0.0.0/8
KONG_REAL_IP_HEADER=X-Forwarded-For): the tests are the proxy then, and clients have addresses of the Internet. A Kong
that trusts nobody has clients with loopback addresses.
"""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import requests

from kong_plugins.abuse_guard import shipped
from tests.e2e.client import Answer, Client
from tests.e2e.gateway import CLUSTER, ISSUER_FIELDS, Gateway, lane_of

TRUSTED = ["127.0.0.0/8"]
HOUR = 3600


def trusted_ips(admin: str) -> list[str]:
    """Whom a running Kong trusts with X-Forwarded-For."""
    found = requests.get(admin, timeout=30).json()["configuration"]
    if found.get("real_ip_header", "").lower() != "x-forwarded-for":
        return []
    return list(found.get("trusted_ips") or [])


class Person:
    """Somebody with an address: behind the proxy of the tests, or of the loopback network."""

    def __init__(self, client: Client, ip: str, is_proxied: bool) -> None:
        self._client, self.ip, self._is_proxied = client, ip, is_proxied

    def __call__(
        self, path: str, method: str = "GET", *, forged: str = "", once: bool = False, **more: Any
    ) -> Answer:
        """A request of his. forged: what he sends as X-Forwarded-For himself; once: never sent again."""
        sent = ", ".join(filter(None, (forged, self.ip if self._is_proxied else "")))
        headers = {**more.pop("headers", {}), **({"X-Forwarded-For": sent} if sent else {})}
        source = "127.0.0.1" if self._is_proxied else self.ip
        send = self._client.once if once else self._client
        return send(path, method, headers, source=source, **more)


class AbuseGateway(Gateway):
    """Of a plugin server with four workers. Everybody may come to all routes but /shared, which needs a token."""

    trusted: list[str]
    client: Client
    """Whom all people send by."""

    def start(self) -> None:
        self.trusted = trusted_ips(self.admin) if self.given else TRUSTED
        # a given Kong's run dir still has the blocks of the run before
        self._numbers, self._place = count(random.randrange(50_000)), random.randrange(190, 250)
        self._log_lines: list[str] = []
        super().start()
        self.client = Client(self.proxy, self)

    @property
    def is_proxied(self) -> bool:
        """Whether X-Forwarded-For of the tests is believed."""
        return "127.0.0.0/8" in self.trusted

    def person(self, network: int | None = None) -> Person:
        """Somebody whom no other test knows; network: of this /24, one of 200."""
        number = next(self._numbers)
        third, fourth = divmod(number, 250) if network is None else (network, number % 250)
        begin = "93.184" if self.is_proxied else "127.70"
        if network is not None:
            begin = f"{93 if self.is_proxied else 127}.{self._place}"
        return Person(self.client, f"{begin}.{third}.{fourth + 1}", self.is_proxied)

    def logged(self, path: str) -> list[dict[str, Any]]:
        """The records of a path in Kong's log, as far as the gateway wrote them (verdict, reason).

        A given Kong has its log plugin on the route /told alone.
        """
        if self.given:
            file = self.dir / "kong.log"
            # the last one may be half there yet
            lines = file.read_text().split("\n")[:-1] if file.exists() else []
            rows = [json.loads(line) for line in lines]
            return [row["kgate"] for row in rows if row["request"]["uri"] == path]
        lines = [line for line in list(self._log_lines) if '"event": "request"' in line]
        return [row for row in map(json.loads, lines) if row["path"] == path]

    def restart_server(self) -> None:
        """End the plugin server and start it anew, as a deployment would."""
        process = self.processes["server"]
        process.terminate()
        process.wait(30)
        if process.stdout is not None:
            process.stdout.close()
        self.start_server()

    def _begin_server(self) -> str:
        return self._begin("server", "serve", "--run-dir", str(self.run_dir), "--lane", self.lane, "--workers", "4",
                           "--config", str(self.dir / "server.yaml"),
                           "--metrics-listen", f"127.0.0.1:{self.metrics_port}")  # fmt: skip

    def _begin_sandbox(self) -> str:
        return self._begin("sandbox", "sandbox", "--run-dir", str(self.run_dir), "--lane", self.lane, "--log",
                           "--trusted-ips", ",".join(TRUSTED), "--real-ip-header", "X-Forwarded-For",
                           "--proxy-listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0")  # fmt: skip

    def _know_sandbox(self, ready: dict[str, Any]) -> None:
        super()._know_sandbox(ready)
        lines = self.processes["sandbox"].stdout
        assert lines is not None

        def read() -> None:
            # until it ends: a full pipe would stop it
            for line in lines:
                self._log_lines.append(line)

        self._reader = threading.Thread(target=read, daemon=True)
        self._reader.start()

    def close(self) -> None:
        sandbox = self.processes.get("sandbox")
        if sandbox is not None and hasattr(self, "_reader"):
            sandbox.terminate()
            self._reader.join(15)
        super().close()

    def config(self) -> dict[str, Any]:
        main = f"http://{self.upstreams['main'].address}"

        def route(name: str, *plugins: dict[str, Any], **config: Any) -> dict[str, Any]:
            routes = [{"name": name, "hosts": ["shop.example"], "paths": [f"/{name}"]}]
            guard = {"name": "abuse-guard", "config": config}
            return {"name": name, "url": main, "routes": routes, "plugins": [guard, *plugins]}

        def finds(name: str, *scenarios: dict[str, Any], plugins: Any = ()) -> dict[str, Any]:
            # the tests are most of the traffic
            free = {"block_private": True, "max_blocked_traffic": 1, "max_blocked_addresses": 1}
            return route(name, *plugins, scenarios=list(scenarios), **free)

        def limit(name: str, burst: int, **more: Any) -> dict[str, Any]:
            return {"name": name, "key": ["ip"], "rate": burst, "per": HOUR, **more}

        steadily = {"key": ["ip"], "rate": 40, "burst": 60}
        own = {"group_by": ["ip"], "capacity": 5, "leak": 0.01, "ttl": 60}
        passport = {"name": "passport", "config": {"issuers": ["main"]}}
        log = [{"name": "file-log", "config": {"path": str(self.dir / "kong.log"), "reopen": True}}]
        cluster = {**CLUSTER, "trusted_ips": self.trusted, "nodes": self.admins, "run_dir": str(self.run_dir)}
        return {
            "_format_version": "3.0",
            "clusters": {"test": cluster},
            "issuers": [{"name": "main", **ISSUER_FIELDS, "jwks": {"keys": []}}],
            "services": [
                route("calm"),
                finds("scan", {"use": "path-scan", "capacity": 8, "ttl": 60}),
                finds("shop", {"use": "credential-stuffing", "capacity": 6, "ttl": 60}),
                finds("slow", {**own, "name": "e2e-slow", "then": ["limit", "notify"], "limit_rate": 0.01}),
                finds("shared", {"use": "token-sharing", "capacity": 3, "ttl": 60}, plugins=[passport]),
                route("few", limits=[limit("e2e-few", 5)]),
                route("local", limits=[limit("e2e-local", 20)]),
                route("exact", limits=[limit("e2e-exact", 20, policy="strict")]),
                route("steady", limits=[{**steadily, "name": "e2e-steady"}]),
                route("steady-strict", limits=[{**steadily, "name": "e2e-strict", "policy": "strict"}]),
                *self._rules(route, limit, finds),
                route("told", *(log if self.given else []), limits=[limit("e2e-told", 3)]),
            ],
        }

    @staticmethod
    def _rules(route: Any, limit: Any, finds: Any) -> list[dict[str, Any]]:
        """Routes of test_abuse_guard_rules.py; /shipped has the shipped scenarios as they are."""
        passport = {"name": "passport", "config": {"issuers": ["main"]}}
        nothing = {"name": "request-termination", "config": {"status_code": 404}}
        anybody = {"name": "passport", "config": {"issuers": ["main"], "mode": "optional"}}
        costs = limit("e2e-costs", 10, costs={"dear": 5, "free": 0})
        own = {"group_by": ["ip"], "leak": 0.01, "then": ["block"], "ttl": 60}
        rotating = {**own, "name": "e2e-rotating", "distinct": "agent", "capacity": 4}
        nameless = {**own, "name": "e2e-nameless", "agent": "missing", "capacity": 4}
        posted = {**own, "name": "e2e-posted", "paths": ["/posted/in"], "methods": ["POST"], "capacity": 4}
        trial = {**own, "name": "e2e-trial", "capacity": 4, "simulate": True}
        return [
            *(route(name, limits=[costs]) for name in ("cheap", "dear", "free")),
            route("gadget", limits=[limit("e2e-device", 3, key=["header:X-Device", "route"])]),
            route("gadget-too", limits=[limit("e2e-device", 3, key=["header:X-Device", "route"])]),
            route("mine", passport, limits=[limit("e2e-mine", 3, key=["user", "ip"])]),
            route("alices", passport, limits=[limit("e2e-alices", 3, key=["user"])]),
            route("dry", limits=[limit("e2e-dry", 2, dry_run=True), limit("e2e-beside", 50)]),
            finds("agents", rotating, nameless),
            finds("posted", posted),
            finds("trial", trial),
            finds("nowhere", {"use": "path-scan", "capacity": 8, "ttl": 60}, plugins=[nothing]),
            finds("shipped", *({"use": name} for name in shipped.SCENARIOS), plugins=[anybody]),
        ]


@contextmanager
def abuse_gateway(
    lane: str,
    gateways: dict[str, Gateway],
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[AbuseGateway]:
    """One that runs. A given Kong, its sockets and its configuration are this one's meanwhile."""
    option = request.config.getoption
    admin = option("--kong-admin")
    if admin and lane_of(admin) in gateways:
        gateways.pop(lane_of(admin)).close()
    folder: Path = option("--run-dir") or tmp_path_factory.mktemp("run")
    made = AbuseGateway(lane, folder, admin, option("--kong-proxy"), option("--kong-mode"))
    try:
        made.start()
        yield made
    finally:
        made.close()
