"""A cluster whose nodes do not have the adapter.

`clusters.NAME.plugins` says what KONG_PLUGINS names on the nodes. Without `kgate` and `kgate-facts` there
the nodes refuse the whole config, and without the adapter nothing guards a protected route.

Why: Kong answers 400 `plugin 'kgate' not enabled; add it to the 'plugins' configuration property` (3.9.3).
`kgate kong-env` prints the right list.

PASS:
    clusters:
      main: {plugins: [bundled, kgate, kgate-facts, passport, abuse-guard, canary-router, static-fallback]}

FAIL:
    clusters:
      main: {plugins: [bundled, passport]}
"""

from __future__ import annotations

from collections.abc import Iterator

from decl.adapter import NAMES
from decl.findings import ERROR, Level
from decl.lint.hit import Hit
from decl.lint.view import View

ID = "adapter-not-enabled"
LEVEL: Level = ERROR


def check(view: View) -> Iterator[Hit]:
    """Clusters that list their plugins without the adapter's."""
    for cluster in view.gateway.clusters.values():
        missing = [name for name in NAMES if name not in cluster.plugins]
        if cluster.plugins and missing:
            message = (
                f"cluster {cluster.name!r} lacks {' and '.join(missing)}; add them to KONG_PLUGINS there"
            )
            yield Hit((*cluster.path, "plugins"), message)
