"""An override that is older than the plan under it.

An operator's `kgate canary set` stands above the plan in the file. When the plan was changed after it, the
change has no effect until `kgate canary set NAME --reset`. Looked at only with `kgate lint --redis URL`;
the plan's time is that of its file.

Why: an override wins whole over the configured plan (docs/state.md), and nothing in Kong's Admin API (`GET
/config`, `GET /plugins`) shows it.

PASS:
    services: []
"""

from __future__ import annotations

from collections.abc import Iterator

from decl.findings import WARNING, Level
from decl.lint.hit import Hit
from decl.lint.view import View

ID = "stale-canary-override"
LEVEL: Level = WARNING


def check(view: View) -> Iterator[Hit]:
    """Canaries whose override was set before their plan's file was changed."""
    if view.state is None or view.sources is None:
        return
    for placed in view.by_name.get("canary-router", ()):
        name = str(placed.plugin.config.get("name"))
        path = (*placed.plugin.path, "config")
        override = view.state.overrides.get(name)
        planned = view.state.changed.get(view.sources.place(path).file)
        if override is not None and planned is not None and override < planned:
            message = f"the override of canary {name!r} is older and wins; kgate canary set {name} --reset"
            yield Hit(path, message)
