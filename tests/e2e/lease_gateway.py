"""A gateway whose verdicts have leases (docs/protocol.md)."""

from __future__ import annotations

import itertools
import random
from typing import Any

from tests.e2e.abuse_gateway import TRUSTED, trusted_ips
from tests.e2e.gateway import CLUSTER, ISSUER_FIELDS, wait_until
from tests.e2e.loops import Person
from tests.e2e.passport_gateway import PassportGateway

BREAKER = {"minimum_calls": 6, "failure_rate": 5, "open_seconds": 4, "open_growth": 1}
ON = ["refused", "timeout", "no_target", 500, 502, 503, "open", "forced"]
LEASED = "kgate_leased_requests_total"


class LeaseGateway(PassportGateway):
    """Routes: /all and /full have all four plugins, their canaries at 0 and at 100 percent; /one and /two are
    services with the same plugins in the same configs; /guarded has no passport; /changing is reconfigured."""

    leases = True
    """Whether the server gives them."""
    trusted: list[str]

    def start(self) -> None:
        self.trusted = trusted_ips(self.admin) if self.given else TRUSTED
        self._numbers = itertools.count(random.randrange(50_000))
        self.audience = "kgate"
        self._people: list[Person] = []
        super().start()
        wait_until(lambda: self.person()("/all/echo").status == 200, 20, "the gateway answers")

    @property
    def is_proxied(self) -> bool:
        """Whether X-Forwarded-For of the tests is believed."""
        return "127.0.0.0/8" in self.trusted

    def address(self) -> str:
        """One that no other test knows."""
        third, fourth = divmod(next(self._numbers), 250)
        return f"{'93.184' if self.is_proxied else '127.70'}.{third}.{fourth + 1}"

    def person(self, **claims: Any) -> Person:
        """Somebody whom no other test knows."""
        address = self.address()
        made = Person(self, f"u-{address}", address, **claims)
        self._people.append(made)
        return made

    def forget_people(self) -> None:
        """Close their connections."""
        while self._people:
            self._people.pop().close()

    def leased(self) -> float:
        """How many requests were not asked for."""
        return self.metric(LEASED)

    def restart_with(self, leases: bool) -> None:
        """End the plugin server, and start it with leases or without."""
        self.stop_server()
        self.leases = leases
        self.start_server()
        self.serves()

    def serves(self) -> None:
        """Wait until it does."""
        wait_until(lambda: all(self.person()("/all/echo").status == 200 for _ in range(8)), 10, "it serves")

    def _begin_server(self) -> str:
        return self._begin("server", "serve", "--run-dir", str(self.run_dir), "--lane", self.lane, "--workers", "2",
                           "--config", str(self.dir / "server.yaml"), *(() if self.leases else ("--no-leases",)),
                           "--metrics-listen", f"127.0.0.1:{self.metrics_port}")  # fmt: skip

    def _begin_sandbox(self, *_: str, **__: str) -> str:
        return self._begin("sandbox", "sandbox", "--run-dir", str(self.run_dir), "--lane", self.lane,
                           "--trusted-ips", ",".join(TRUSTED), "--real-ip-header", "X-Forwarded-For",
                           "--proxy-listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0")  # fmt: skip

    def config(self) -> dict[str, Any]:
        main = f"http://{self.upstreams['main'].address}"
        responses = [{"name": "empty", "status": 200, "json": {"items": []}, "on": ON}]
        abuse = {"name": "abuse-guard"}
        fallback = {"name": "static-fallback", "config": {"responses": responses, "breaker": BREAKER}}

        def passport(**more: Any) -> dict[str, Any]:
            return {
                "name": "passport",
                "config": {"issuers": ["main"], "device": "header:X-Device-Id", **more},
            }

        def canary(name: str, percent: int) -> dict[str, Any]:
            return {
                "name": "canary-router",
                "config": {"name": name, "upstream": "canary", "percent": percent},
            }

        def service(name: str, *plugins: dict[str, Any]) -> dict[str, Any]:
            route = {"name": name, "hosts": ["shop.example"], "paths": [f"/{name}"]}
            return {"name": name, "url": main, "routes": [route], "plugins": list(plugins), "retries": 0}

        cluster = {**CLUSTER, "trusted_ips": self.trusted, "nodes": self.admins, "run_dir": str(self.run_dir)}
        return {
            "_format_version": "3.0",
            "clusters": {"test": cluster},
            "issuers": [{"name": "main", **ISSUER_FIELDS, "jwks": {"keys": []}}],
            "services": [
                service("all", abuse, passport(), canary("all", 0), fallback),
                service("full", abuse, passport(), canary("full", 100), fallback),
                service("one", passport(), fallback),
                service("two", passport(), fallback),
                service("broken", abuse, passport(), canary("broken", 0), fallback),
                service("guarded", abuse, fallback),
                service("changing", abuse, passport(audience=self.audience), fallback),
            ],
            "upstreams": [
                {"name": name, "targets": [{"target": self.upstreams[name].address}]} for name in ("canary",)
            ],
        }
