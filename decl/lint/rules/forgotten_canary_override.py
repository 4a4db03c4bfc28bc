"""A canary's override that has stood for a week.

An override is for the moment: make it the plan (`kgate canary promote NAME`, then `--reset`), give it
an end (`--ttl`), or forget it (`kgate canary set NAME --reset`). Looked at only with `kgate lint --redis URL`.
One of a canary that the files do not plan any more is found too.

Why: what stands in the control state alone is in no review and in no repository, and is lost with it; Kong's Admin
API (`GET /config`, `GET /plugins`) shows the plan only.

Option `days`: how long one may stand (7).

PASS:
    services: []
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime
from typing import Any

from decl.findings import WARNING, Level
from decl.lint.hit import Hit
from decl.lint.view import View

ID = "forgotten-canary-override"
LEVEL: Level = WARNING
OPTIONS: Mapping[str, Any] = {"days": 7}


def check(view: View) -> Iterator[Hit]:
    """Overrides that were last changed more than `days` days ago."""
    if view.state is None or not view.today:
        return
    today, days = date.fromisoformat(view.today), view.option(ID, "days")
    places = {str(p.plugin.config.get("name")): p.plugin.path for p in view.by_name.get("canary-router", ())}
    for name, changed in sorted(view.state.overrides.items()):
        age = (today - datetime.fromtimestamp(changed, UTC).date()).days
        if age > days:
            at = places.get(name)
            message = (
                f"canary {name!r} is overridden for {age} days: kgate canary promote {name}, or "
                f"kgate canary set {name} --reset"
            )
            yield Hit((*at, "config") if at is not None else (), message)
