"""A plugin that the nodes do not have.

Kong refuses the whole config because of one unknown name. Bundled plugins, the gate's and those with a
schema in the pack of `kgate schema pull` are known; name others in `plugins` of `.kgate.yaml` or of the
cluster.

Why: Kong 3.9.3 answers 400 `plugin 'x' not enabled; add it to the 'plugins' configuration property`.

PASS:
    - {name: rate-limiting, config: {minute: 5}}

FAIL:
    - {name: rate-limitting, config: {minute: 5}}
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator

from decl.adapter import NAMES
from decl.findings import WARNING, Level
from decl.lint.bundled import BUNDLED, ENTERPRISE
from decl.lint.hit import Hit
from decl.lint.view import View
from decl.plugin_sources import SOURCES

ID = "plugin-not-enabled"
LEVEL: Level = WARNING


def check(view: View) -> Iterator[Hit]:
    """Instances of plugins that nothing says the nodes have."""
    known = BUNDLED | view.known_plugins | SOURCES.keys() | set(NAMES) | set(view.settings.plugins)
    for cluster in view.gateway.clusters.values():
        known |= set(cluster.plugins)
    for name, instances in view.by_name.items():
        if name not in known:
            for placed in instances:
                yield Hit((*placed.plugin.path, "name"), _message(name, known))


def _message(name: str, known: Collection[str]) -> str:
    if name in ENTERPRISE:
        return (
            f"plugin {name!r} is of Kong Enterprise; where the nodes have it add it to plugins in .kgate.yaml"
        )
    close = difflib.get_close_matches(name, known, 1)
    hint = f"did you mean {close[0]!r}?" if close else "add it to plugins in .kgate.yaml"
    return f"plugin {name!r} is not enabled on the nodes; {hint}"
