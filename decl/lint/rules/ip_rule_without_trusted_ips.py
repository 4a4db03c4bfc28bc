"""A rule about addresses, and nodes of which nobody said whose addresses they see.

Behind a load balancer Kong sees the balancer's address unless KONG_TRUSTED_IPS names it: a deny list then
hits nobody or everybody, and with 0.0.0.0/0 there anybody may choose an address. Say what the nodes have in
`clusters.NAME.trusted_ips`; an empty list means clients come directly. Refused, because nobody sees the mistake
until the first attack, or until everybody behind the balancer is blocked at once.

Why: measured on Kong 3.9.3: X-Forwarded-* and X-Real-IP of a client count only from trusted_ips.

PASS:
    clusters:
      main: {trusted_ips: [10.0.0.0/8]}
    plugins:
    - {name: ip-restriction, config: {deny: [203.0.113.0/24]}}

PASS:
    clusters:
      edge: {trusted_ips: []}
    plugins:
    - {name: abuse-guard, config: {scenarios: [{use: path-scan}]}}

FAIL:
    clusters:
      main: {}
    plugins:
    - {name: ip-restriction, config: {deny: [203.0.113.0/24]}}

FAIL:
    clusters:
      main: {trusted_ips: [0.0.0.0/0]}
    plugins:
    - {name: rate-limiting, config: {minute: 5, limit_by: ip}}

FAIL:
    clusters:
      main: {}
    plugins:
    - {name: abuse-guard, config: {limits: [{name: all, key: [ip], rate: 20}]}}

FAIL:
    clusters:
      main: {}
    plugins:
    - {name: abuse-guard, config: {limits: [{name: all, key: ["header:X-Device"], rate: 20}]}}

FAIL:
    clusters:
      main: {}
    plugins:
    - {name: abuse-guard, config: {scenarios: [{use: path-scan}]}}

FAIL:
    clusters:
      main: {}
    plugins:
    - {name: abuse-guard, config: {deny_lists: [bad-networks]}}
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from decl.findings import ERROR, Level
from decl.lint.hit import Hit
from decl.lint.view import Placed, View

ID = "ip-rule-without-trusted-ips"
LEVEL: Level = ERROR

_FIELDS = {
    "ip-restriction": ("allow", "deny"),
    "abuse-guard": ("allow", "deny", "allow_lists", "deny_lists"),
    "canary-router": ("cidrs",),
}
_EVERYBODY = frozenset(("0.0.0.0/0", "::/0"))


def check(view: View) -> Iterator[Hit]:
    """Plugins that look at the client's address, in clusters without or with too wide trusted_ips."""
    for placed in view.own_plugins:
        if not _looks_at_address(placed):
            continue
        for cluster in view.clusters_of(placed.service):
            if cluster.trusted_ips is None:
                message = (
                    f"whose address does cluster {cluster.name!r} see? say its trusted_ips: those of the proxies "
                    "before it, [] where clients come directly"
                )
                yield Hit(placed.plugin.path, message)
                break
            if not _EVERYBODY.isdisjoint(cluster.trusted_ips):
                message = f"cluster {cluster.name!r} trusts everybody: any client may choose its address"
                yield Hit(placed.plugin.path, message)
                break


def _looks_at_address(placed: Placed) -> bool:
    config = placed.plugin.config
    if placed.plugin.name in ("rate-limiting", "response-ratelimiting"):
        return config.get("limit_by") == "ip"
    if placed.plugin.name == "abuse-guard" and _counts_addresses(config):
        return True
    rules = config.get("rules")
    listed = rules if placed.plugin.name == "canary-router" and isinstance(rules, list | tuple) else ()
    if any(isinstance(rule, Mapping) and rule.get("cidrs") for rule in listed):
        return True
    return any(config.get(field) for field in _FIELDS.get(placed.plugin.name, ()))


def _counts_addresses(config: Mapping[str, Any]) -> bool:
    limits, scenarios = config.get("limits"), config.get("scenarios")
    if isinstance(scenarios, list) and scenarios:
        return True  # nearly all of them count by address
    keys = (
        [limit.get("key") for limit in limits if isinstance(limit, Mapping)]
        if isinstance(limits, list)
        else []
    )
    parts = [str(part) for key in keys if isinstance(key, list) for part in key]
    # whoever leaves the header out counts by his address
    return any(part == "ip" or part.startswith("header:") for part in parts)
