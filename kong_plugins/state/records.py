"""Blocks and canary overrides as JSON texts, as Redis holds them.

Unknown fields are ignored, so that a newer kgate may add some; a record without a field that this version
needs is an error (ValueError).
"""

from __future__ import annotations

import json
from typing import Any

from kong_plugins.state.base import Block, CanaryOverride
from kong_plugins.state.blocks import parse_target


def _dump(record: dict[str, Any]) -> str:
    return json.dumps(record, separators=(",", ":"), allow_nan=False)


def _cause(error: Exception) -> str:
    return f"no field {error}" if isinstance(error, KeyError) else str(error)


def block_field(kind: str, value: str) -> str:
    """A block's name in its hash: kind, space, value."""
    return f"{kind} {value}"


def dump_block(block: Block) -> str:
    """The block without its name."""
    return _dump(
        {
            "reason": block.reason,
            "actor": block.actor,
            "created": block.created,
            "expires": block.expires,
        }
    )


def load_block(field: str, text: str) -> Block:
    """The block of a field and its record. Raises ValueError."""
    kind, _, value = field.partition(" ")
    if kind not in ("ip", "cidr", "user"):
        raise ValueError(f"block {field!r}: kind {kind!r} is not known")
    try:
        if kind != "user" and parse_target(value) != (kind, value):
            raise ValueError("not in canonical form")
        record = json.loads(text)
        expires = record["expires"]
        return Block(
            kind,
            value,
            str(record["reason"]),
            str(record["actor"]),
            float(record["created"]),
            None if expires is None else float(expires),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"block {field!r}: {_cause(error)}") from error


def dump_canary(override: CanaryOverride) -> str:
    """The override without its name and version."""
    return _dump(
        {
            "percent": override.percent,
            "users": None if override.users is None else sorted(override.users),
            "paused": override.paused,
            "actor": override.actor,
            "changed": override.changed,
        }
    )


def load_canary(name: str, text: str) -> CanaryOverride:
    """The override of a name and its record, VERSION:JSON. Raises ValueError."""
    version, _, content = text.partition(":")
    try:
        record = json.loads(content)
        percent, users = record["percent"], record["users"]
        return CanaryOverride(
            name,
            None if percent is None else float(percent),
            None if users is None else frozenset(str(user) for user in users),
            bool(record["paused"]),
            int(version),
            str(record["actor"]),
            float(record["changed"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"canary {name!r}: {_cause(error)}") from error
