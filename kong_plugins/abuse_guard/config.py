"""abuse-guard's config.

deny         addresses and networks that are always answered 403
allow        addresses and networks that neither `deny` nor a block can touch
deny_lists   named lists (`kgate list import`) of addresses or verified users that are always answered 403
allow_lists  named lists of addresses or verified users that no denial and no block can touch
blocks       whether the control state's blocks and allows (`kgate block`, `kgate allow`) count here, default true
limits       rate limits (limit_config.py)
headers      whether answers carry RateLimit and RateLimit-Policy, default true
scenarios    what many requests together give away (scenario_config.py)
max_blocked_traffic    share of the well-answered requests of a minute that automatic blocks may touch, default 0.1
max_blocked_addresses  share of the addresses of a minute that may be blocked in it, default 0.05
block_private          whether scenarios may block loopback, private and link-local addresses, default false
fail         closed | open: what happens when there is no verdict, default closed

A list that does not exist counts as empty.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from kong_plugins.abuse_guard import limit_config, scenario_config
from kong_plugins.abuse_guard.limits import LimitPass, pass_of
from kong_plugins.abuse_guard.scenario import Scenarios
from kong_plugins.engine import fields
from kong_plugins.state.addresses import AddressIndex, network_set

_TEXTS: dict[str, Any] = {"type": "array", "elements": {"type": "string"}, "default": [], "required": True}
_ADDRESSES: dict[str, Any] = {**_TEXTS, "len_max": fields.MAX_INLINE}
_LISTS: dict[str, Any] = {**_TEXTS, "len_max": 16}

SCHEMA: list[dict[str, Any]] = [
    fields.FAIL,
    {"deny": _ADDRESSES},
    {"allow": _ADDRESSES},
    {"deny_lists": _LISTS},
    {"allow_lists": _LISTS},
    {"blocks": {"type": "boolean", "default": True, "required": True}},
    {"limits": limit_config.SCHEMA},
    {"headers": {"type": "boolean", "default": True, "required": True}},
    {"scenarios": scenario_config.SCHEMA},
    {"max_blocked_traffic": {"type": "number", "default": 0.1, "between": [0, 1], "required": True}},
    {"max_blocked_addresses": {"type": "number", "default": 0.05, "between": [0, 1], "required": True}},
    {"block_private": {"type": "boolean", "default": False, "required": True}},
]
"""Kong schema fields of the plugin's config."""


@dataclass(frozen=True, slots=True)
class Config:
    """stranger and identified are the limits before and after it is known who it is; sent_headers are the request
    headers that they count by, in lower case; is_plain: there are neither limits nor scenarios. `allow` and
    `allow_lists` win over `deny`, `deny_lists` and blocks. list_names: all lists named."""

    fail: str
    deny: AddressIndex[bool]
    allow: AddressIndex[bool]
    blocks: bool
    deny_lists: tuple[str, ...] = ()
    allow_lists: tuple[str, ...] = ()
    stranger: LimitPass = field(default_factory=LimitPass)
    identified: LimitPass = field(default_factory=LimitPass)
    headers: bool = True
    scenarios: Scenarios | None = None
    max_blocked_traffic: float = 0.1
    max_blocked_addresses: float = 0.05
    block_private: bool = False
    sent_headers: frozenset[str] = frozenset()

    is_plain: bool = True
    has_allow: bool = True
    has_deny: bool = True
    has_stranger_limits: bool = False
    has_identified_limits: bool = False

    @property
    def list_names(self) -> tuple[str, ...]:
        return self.deny_lists + self.allow_lists


def parse(raw: Mapping[str, Any]) -> Config:
    """Parse Kong's config record. Raises ValueError naming the field."""
    limits = limit_config.parse(raw)
    scenarios = scenario_config.parse(raw)
    deny, allow = fields.inline(raw, "deny", "deny_lists"), fields.inline(raw, "allow", "allow_lists")
    deny_lists, allow_lists = fields.list_names(raw, "deny_lists"), fields.list_names(raw, "allow_lists")
    return Config(
        fail=fields.fail_policy(raw),
        deny=network_set(deny, "deny"),
        allow=network_set(allow, "allow"),
        blocks=fields.flag(raw, "blocks", True),
        deny_lists=deny_lists,
        allow_lists=allow_lists,
        stranger=pass_of(limits, identified=False),
        identified=pass_of(limits, identified=True),
        headers=fields.flag(raw, "headers", True),
        scenarios=scenarios,
        max_blocked_traffic=fields.number(raw, "max_blocked_traffic", 0, 1, 0.1),
        max_blocked_addresses=fields.number(raw, "max_blocked_addresses", 0, 1, 0.05),
        block_private=fields.flag(raw, "block_private", False),
        sent_headers=frozenset(part[7:] for limit in limits for part in limit.parts if part[:7] == "header:"),
        has_allow=bool(allow or allow_lists),
        has_deny=bool(deny or deny_lists),
        is_plain=not limits and scenarios is None,
        has_stranger_limits=any(not limit.is_identified for limit in limits),
        has_identified_limits=any(limit.is_identified for limit in limits),
    )
