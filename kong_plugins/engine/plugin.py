"""What Kong must know of a gate plugin before it can run: the answer of its `query_cmd`."""

from __future__ import annotations

import json
from typing import Any

from kong_plugins.engine.registry import PLUGINS, VERSION

_NO_CONSUMER = {"consumer": {"type": "foreign", "reference": "consumers", "eq": None}}
"""Kong's `typedefs.no_consumer` in JSON. No consumer is known yet where the gate plugins run, so an instance
for a consumer would never run: Kong shall refuse it."""


def plugin_info(name: str) -> dict[str, Any]:
    """Name, phases, priority, version and Kong schema of one gate plugin."""
    plugin = PLUGINS[name]
    return {
        "Name": name,
        "Phases": ["access"],
        "Priority": plugin.priority,
        "Version": VERSION,
        "Schema": {
            "name": name,
            "fields": [
                _NO_CONSUMER,
                {"config": {"type": "record", "required": True, "fields": plugin.schema}},
            ],
        },
    }


def plugin_info_json(name: str) -> str:
    """The text that Kong's `query_cmd` shall print: a list, of which Kong takes the first element.

    The same bytes are package data of the express lane's Lua plugins (schema.json).
    """
    return json.dumps([plugin_info(name)], indent=1, sort_keys=True) + "\n"
