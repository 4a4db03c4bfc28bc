"""A route without a name.

kgate gives it a name made of what it matches, so the name and the id change when the paths do, and counters
and breakers start again. Give it a name.

Why: DB-less Kong 3.9.3 draws a new random id for an unnamed route at every push; rate-limiting counts by
route id.

PASS:
    services:
    - name: a
      url: http://a
      routes: [{name: a, paths: [/a]}]

FAIL:
    services:
    - name: a
      url: http://a
      routes: [{paths: [/a]}]
"""

from __future__ import annotations

from collections.abc import Iterator

from decl.findings import WARNING, Level
from decl.lint.hit import Hit
from decl.lint.view import View

ID = "unnamed-route"
LEVEL: Level = WARNING


def check(view: View) -> Iterator[Hit]:
    """Routes without `name`."""
    for found in view.routes:
        if not found.route.named and "id" not in found.route.fields:
            yield Hit(
                found.route.path, "a route without a name gets another id when its paths change; name it"
            )
