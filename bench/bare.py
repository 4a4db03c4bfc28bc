"""The bench's config without kgate: for the plain Kong that `base` and `lua` are measured on.

kgate -f examples/bench/gateway.yaml render -o bench.json
python -m bench.bare < bench.json > bare.json
"""

from __future__ import annotations

import json
import sys
from typing import Any

from kong_plugins.engine.registry import PLUGINS
from kong_plugins.kong_env import ADAPTER_PLUGINS

OURS = frozenset((*PLUGINS, *ADAPTER_PLUGINS))


def bare(entity: Any) -> Any:
    """The config without the plugins that are kgate's, at every level."""
    if isinstance(entity, list):
        return [bare(item) for item in entity]
    if not isinstance(entity, dict):
        return entity
    kept = {name: bare(value) for name, value in entity.items()}
    if isinstance(entity.get("plugins"), list):
        kept["plugins"] = [plugin for plugin in entity["plugins"] if plugin["name"] not in OURS]
    return kept


if __name__ == "__main__":
    json.dump(bare(json.load(sys.stdin)), sys.stdout)
