"""What Kong sends for one request, ready packed (docs/protocol.md)."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import msgpack

from kong_plugins.engine.registry import PLUGINS

Request = list[bytes]
"""The messages of one request in their order."""


def configs(number: int) -> dict[str, dict[str, Any]]:
    """The gate plugins' configs of route `number`: all four, each different from those of other routes."""
    denied = [f"198.18.{number % 256}.0/24", "203.0.113.0/24", "2001:db8:bad::/48"]
    return {
        "abuse-guard": {"deny": denied, "allow": [], "blocks": True, "fail": "closed"},
        "passport": {"issuers": ["bench"], "mode": "required", "audience": f"route-{number}"},
        "canary-router": {"name": f"canary-{number}", "upstream": f"canary-{number}", "percent": 10},
        "static-fallback": {
            "responses": [
                {
                    "name": f"sorry-{number}",
                    "on": ["502", "503", "504", "refused", "timeout", "no_target"],
                    "status": 200,
                    "body": json.dumps({"route": number, "items": []}),
                    "content_type": "application/json",
                }
            ]
        },
    }


def record(token: str, route: int, user: int) -> list[Any]:
    """The facts of one request of a browser."""
    ip = f"198.51.{100 + user % 100}.{user % 250 + 1}"
    path = f"/orders/{user}"
    host, name = "order.bench.example", f"route-{route}"
    fixed = [1, f"{user:08x}{route:024x}", ip, "https", "GET", host, path, path, name, "order", "food"]
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    return [
        *fixed,
        trace,
        "",
        *("authorization", f"Bearer {token}"),
        *("user-agent", "Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 Mobile Safari/537.36"),
        *("accept", "application/json, text/plain, */*"),
        *("traceparent", trace),
    ]


def call(method: str, argument: dict[str, Any]) -> bytes:
    """One RPC call; all have the id 1, which the driver knows the answers by."""
    packed: bytes = msgpack.packb([0, 1, method, [argument]])
    return packed


def start_instance(plugin: str, config: dict[str, Any]) -> bytes:
    """What Kong sends once for each plugin instance."""
    return call("plugin.StartInstance", {"Name": plugin, "Config": json.dumps(config)})


class ExpressRoute:
    """A route with all four plugins in the express lane."""

    def __init__(self, number: int) -> None:
        pairs = [(name, json.dumps(configs(number)[name])) for name in PLUGINS]
        self._flat = [text for pair in pairs for text in pair]
        material = "".join(f"{text}\0" for text in self._flat)
        self._hash = hashlib.md5(material.encode(), usedforsecurity=False).hexdigest()

    def introduction(self, facts: list[Any]) -> Request:
        """A request that brings the configs along."""
        return [msgpack.packb(["d", self._hash, facts, self._flat])]

    def request(self, facts: list[Any]) -> Request:
        """A request as all later ones are."""
        return [msgpack.packb(["d", self._hash, facts])]


def pdk_request(config_id: int, facts: list[Any]) -> Request:
    """A request of a route with passport alone in the pdk lane: two messages."""
    return [
        call("plugin.HandleEvent", {"InstanceId": config_id, "EventName": "access"}),
        call("plugin.Step", {"EventId": config_id, "Data": [facts, [config_id]]}),
    ]


def stock_request(instance_id: int, facts: list[Any]) -> Request:
    """A request of three-calls under the stock server: four messages, of which three lack their EventId."""
    answers = [facts[facts.index("authorization") + 1], facts[2], None]
    return [
        call("plugin.HandleEvent", {"InstanceId": instance_id, "EventName": "access"}),
        *(
            b"\x94\x00\x01"
            + msgpack.packb("plugin.Step")
            + b"\x91\x82"
            + msgpack.packb("Data")
            # the driver appends the number of this event
            + msgpack.packb(answer)
            + msgpack.packb("EventId")
            for answer in answers
        ),
    ]
