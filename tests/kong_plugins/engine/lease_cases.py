"""Routes, requests and control states drawn at random, for what must hold of every lease.

Most of what is drawn leaves a lease: else next to nothing would be looked at.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from kong_plugins.engine import chain
from kong_plugins.engine.facts import Facts
from kong_plugins.engine.registry import parse_config
from kong_plugins.identity.issuers import parse_issuers
from kong_plugins.identity.keyring import Keyring
from kong_plugins.identity.keys import StaticKeys
from kong_plugins.identity.trust import Trust
from kong_plugins.state.base import CanaryOverride, State
from kong_plugins.state.canaries import override_record
from kong_plugins.state.cells import Cells
from kong_plugins.state.records import Record, StateDump
from kong_plugins.state.snapshot import snapshot_of_dump
from kong_plugins.static_fallback import switch

KEY = Ed25519PrivateKey.generate()
IPS = ("203.0.113.7", "203.0.113.8", "2001:db8::7")
SUBJECTS = ("kim", "lee")
AGENTS = ("badbot/1", "app/2")
TRACE = "traceparent"
ANSWERS = [{"on": ["503", "open"], "status": 503}, {"on": ["502"], "status": 200, "paths": ["/a/*"]}]


def b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


JWK = {"kty": "OKP", "crv": "Ed25519", "x": b64(KEY.public_key().public_bytes_raw())}


class Case(NamedTuple):
    """One route and one request at a time. ends: of all that ends by itself. flags: of breakers and budget."""

    facts: Facts
    chain: chain.Chain
    state: State
    now: float
    ends: tuple[float, ...]
    flags: tuple[str, ...]


class Draw:
    """Makes cases of one source of chance; `now` of each is later than all of the one before. listed: a list lets
    some pass who are denied."""

    def __init__(self, chance: Random, cells: Cells) -> None:
        self.chance, self.cells = chance, cells
        self.now = 1_800_000_000.0

    def case(self) -> Case:
        self.now += 1000.0
        self.ends: list[float] = []
        self.listed = self._one_of(6)
        configs = self._configs()
        state = self._state()
        facts = self._facts(configs)
        watch = getattr(configs.get("static-fallback"), "watch", None)
        flags: tuple[str, ...] = ()
        if watch is not None:
            flags = (*(switch.breaker_flag(watch.id, name) for name in ("order", "menu")),)
            flags += (switch.budget_flag(watch.id, "order"),)
            if self._one_of(10):
                self._raise(self.chance.choice(flags), self._end())
        return Case(facts, chain.build(configs), state, self.now, tuple(self.ends), flags)

    def _one_of(self, times: int) -> bool:
        return self.chance.randrange(times) == 0

    def _end(self) -> float:
        """Of something that ends by itself: before, now, within a lease or after it."""
        found = self.now + self.chance.choice((-1.0, 0.0, 0.001, 0.2, 1.5, 4.0, 9.9, 10.0, 30.0))
        self.ends.append(found)
        return found

    def _raise(self, flag: str, until: float) -> None:
        state = self.chance.choice((switch.OPEN, switch.HALF_OPEN))
        at = int((self.now - 1) * 1000)
        switch.show(self.cells, flag, state, at, int(until * 1e9), int((self.now - 2) * 1e9))

    # configs

    def _configs(self) -> dict[str, Any]:
        made = {
            "abuse-guard": self._abuse,
            "passport": self._passport,
            "canary-router": self._canary,
            "static-fallback": self._fallback,
        }
        names = [name for name in made if not self._one_of(4)] or ["abuse-guard"]
        return {name: parse_config(name, made[name]()) for name in names}

    def _abuse(self) -> dict[str, Any]:
        config: dict[str, Any] = {}
        for name, value in (
            ("deny", ["192.0.2.0/24"]),
            ("deny", ["203.0.113.7"]),
            ("allow", ["203.0.113.0/24"]),
            ("deny_lists", ["l1"]),
            ("allow_lists", ["l2"]),
            ("blocks", False),
            ("limits", [{"name": "n", "key": ["ip"], "rate": 3, "per": 60}]),
            ("limits", [{"name": "u", "key": ["user"], "rate": 3, "per": 60, "paths": ["/a"]}]),
            ("scenarios", [{"use": "path-scan"}]),
        ):
            if self._one_of(14):
                config[name] = value
        if self.listed:
            config |= {"allow_lists": ["l2"], "deny": ["203.0.113.0/24"]}
        return config

    def _passport(self) -> dict[str, Any]:
        config: dict[str, Any] = {"issuers": ["main"]}
        for name, value in (
            ("mode", "optional"),
            ("reuse_for", 2),
            ("reuse_for", 60),
            ("ttl", 12),
            ("device", "header:x-device"),
            ("device", f"header:{TRACE}"),
            ("device", "cookie:d"),
            ("token_from", ["authorization", f"header:{TRACE}"]),
            ("token_from", [f"header:{TRACE}"]),
            ("claims", {"tier": "tier"}),
            ("forward_token", False),
            ("profile", "txn-token"),
        ):
            if self._one_of(14):
                config[name] = value
        if config.get("mode") == "optional" and self._one_of(2):
            config["anonymous"] = "passport"
        if config.get("reuse_for", 0) > config.get("ttl", 60):
            del config["reuse_for"]
        return config

    def _canary(self) -> dict[str, Any]:
        config: dict[str, Any] = {"name": "v2", "upstream": "u2", "percent": self.chance.choice((0, 50, 100))}
        start = "2027-01-15T08:00Z"  # 1_800_000_000
        for name, value in (
            ("users", ["kim"]),
            ("users_list", "l2"),
            ("cidrs", ["203.0.113.8"]),
            ("rules", [{"header": "x-device", "values": ["d1"], "clients_may_choose": True}]),
            ("rules", [{"header": TRACE, "values": ["t1"], "clients_may_choose": True, "deny": 404}]),
            ("ramp", {"from": 1, "to": 100, "start": start, "over": "3d"}),
            ("device_cookie", "d"),
            ("paused", True),
        ):
            if self._one_of(16):
                config[name] = value
        if "ramp" in config:
            config["percent"] = 0
        return config

    def _fallback(self) -> dict[str, Any]:
        config: dict[str, Any] = {"responses": ANSWERS}
        if self._one_of(2):
            config["breaker"] = {"per": self.chance.choice(("service", "route"))}
        if self._one_of(3):
            config["retry_budget"] = 20
        return config

    # control state

    def _state(self) -> State:
        held: dict[str, list[Record]] = {}
        rows: dict[str, Any] = {}

        def put(
            collection: str, key: str, data: dict[str, Any], often: int, always_ends: bool = False
        ) -> None:
            if self._one_of(often):
                expires = self._end() if always_ends or not self._one_of(3) else None
                held.setdefault(collection, []).append(Record(collection, key, data, expires=expires))

        for kind, values in (
            ("ip", IPS),
            ("cidr", ("203.0.113.0/24", "2001:db8::/32")),
            ("user", ("kim", "https://a|lee")),
        ):
            for value in values:
                put("allows", f"{kind} {value}", {}, 10, always_ends=True)
                put("blocks", f"{kind} {value}", {}, 10)
        put("blocks", "agent badbot", {}, 10)
        put("blocks", "token https://a|t-kim", {}, 10)
        put("marks", "ip 203.0.113.7", {"score": 9, "reasons": ["x"], "limit": 0}, 15)
        put("marks", "user https://a|lee", {"score": 9, "reasons": ["x"], "limit": 0}, 15)
        put("revocations", "token https://a|t-kim", {}, 12)
        put("revocations", "subject https://a|lee", {}, 12)
        put("revocations", "before https://a", {"issued_before": self.now - self.chance.choice((5, 200))}, 12)
        for name in ("v2", "v3"):
            if self._one_of(8):
                made = override_record(CanaryOverride(name, 10.0, None, self._one_of(3)))
                held.setdefault("canaries", []).append(made._replace(expires=self._end()))
        for key in ("route menu", "service order", "tenant food"):
            put("fallbacks", key, {"name": None}, 15)
            put("breakers", key, {"state": self.chance.choice(("open", "closed", "reset"))}, 12)
        put("breakers", "*", {"state": self.chance.choice(("open", "closed", "reset"))}, 12)
        for number, name in enumerate(("l1", "l2")):
            kind = "addresses" if self.listed else self.chance.choice(("addresses", "users"))
            entries = (
                ["ip 203.0.113.7", "cidr 2001:db8::/64"] if kind == "addresses" else ["kim", "https://a|lee"]
            )
            bulk = f"{number:032x}"
            put("lists", name, {"kind": kind, "count": 2, "bulk": bulk}, 2)
            rows[bulk] = dict.fromkeys(entries, "")
        bulks = {record.data["bulk"] for record in held.get("lists", ())}
        dump = StateDump(1, held, {bulk: found for bulk, found in rows.items() if bulk in bulks})
        cells = None if self._one_of(8) else self.cells
        return State(snapshot_of_dump(dump), self._trust(), {}, cells)

    def _trust(self) -> Trust:
        item = {"name": "main", "iss": "https://a", "audiences": ["shop"], "jwks": {"keys": [JWK]}}
        if self._one_of(4):
            item["max_age"] = 120
        issuers = parse_issuers([item], Path())
        return Trust(issuers, StaticKeys({"main": issuers["main"].keys}), Keyring(b"s" * 32))

    # requests

    def token(self, subject: str) -> str:
        issued = int(self.now - self.chance.choice((0, 10, 100, 117)))
        claims = {"iss": "https://a", "aud": "shop", "sub": subject, "jti": f"t-{subject}", "iat": issued}
        claims["exp"] = self.chance.choice((self._end(), self.now + 600))
        if self._one_of(3):
            claims["tier"] = "gold"
        message = f"{b64(json.dumps({'alg': 'EdDSA'}).encode())}.{b64(json.dumps(claims).encode())}"
        return f"{message}.{b64(KEY.sign(message.encode()))}"

    def _facts(self, configs: dict[str, Any]) -> Facts:
        headers = {"user-agent": self.chance.choice(AGENTS)} if self._one_of(2) else {}
        places = getattr(configs.get("passport"), "places", ())
        if not self._one_of(10):
            token = self.token(self.chance.choice(SUBJECTS))
            if ("header", TRACE) in places and len(places) == 1:
                headers[TRACE] = token
            else:
                headers["authorization"] = f"Bearer {token}"
        if TRACE not in headers and self._one_of(2):
            headers[TRACE] = self.chance.choice(("", "t1"))
        if self._one_of(2):
            headers["x-device"] = self.chance.choice(("d1", "d2"))
        if self._one_of(20):
            headers |= {"origin": "https://x", "access-control-request-method": "GET"}
        method = self.chance.choice(("GET", "GET", "POST", "OPTIONS"))
        path = self.chance.choice(("/a/b", "/x"))
        return Facts(
            *(f"{self.chance.getrandbits(128):032x}", self.chance.choice(IPS), "https", method, "h"),
            *(path, path, "menu", "order", "food", ""),
            frozenset(),
            headers,
        )

    def alike(self, facts: Facts) -> Facts:
        """A request that a lease of the other one is for."""
        path = self.chance.choice(("/", "/a/b", "/etc/passwd", "/.git/config", "/a"))
        headers = dict(facts.headers)
        if TRACE in headers:
            headers[TRACE] = self.chance.choice(("", "t1", "t2", self.token(self.chance.choice(SUBJECTS))))
        return facts._replace(
            request_id=f"{self.chance.getrandbits(128):032x}",
            path=path,
            raw_path=self.chance.choice((path, "/%61")),
            traceparent=self.chance.choice(("", "00-1-2-01")),
            headers=headers,
        )

    def other(self, facts: Facts) -> Facts:
        """A request of the same address and route that no lease of the other one is for."""
        headers = dict(facts.headers)
        headers[self.chance.choice(("x-device", "x-more", "user-agent"))] = self.chance.choice(("d1", "d3"))
        return self.alike(facts)._replace(
            method=self.chance.choice(("GET", "PUT", "OPTIONS")),
            host=self.chance.choice(("h", "g")),
            scheme=self.chance.choice(("http", "https")),
            headers=headers,
        )
