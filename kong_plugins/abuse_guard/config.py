"""abuse-guard's config.

deny     addresses and networks that are always answered 403
allow    addresses and networks that neither `deny` nor a block can touch
blocks   whether the control state's blocks (`kgate block add`) count here, default true
fail     closed | open: what happens when there is no verdict, default closed
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kong_plugins.engine import fields
from kong_plugins.state.addresses import AddressIndex, network_set

_ADDRESSES: dict[str, Any] = {
    "type": "array",
    "elements": {"type": "string"},
    "default": [],
    "required": True,
}

SCHEMA: list[dict[str, Any]] = [
    fields.FAIL,
    {"deny": _ADDRESSES},
    {"allow": _ADDRESSES},
    {"blocks": {"type": "boolean", "default": True, "required": True}},
]
"""Kong schema fields of the plugin's config."""


@dataclass(frozen=True, slots=True)
class Config:
    """`allow` wins over `deny` and over blocks."""

    fail: str
    deny: AddressIndex[bool]
    allow: AddressIndex[bool]
    blocks: bool


def parse(raw: Mapping[str, Any]) -> Config:
    """Parse Kong's config record. Raises ValueError naming the field."""
    return Config(
        fail=fields.fail_policy(raw),
        deny=network_set(fields.texts(raw, "deny"), "deny"),
        allow=network_set(fields.texts(raw, "allow"), "allow"),
        blocks=fields.flag(raw, "blocks", True),
    )
