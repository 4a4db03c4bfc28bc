"""A cors plugin on a route that takes no OPTIONS.

The browser's preflight asks with OPTIONS; where the route's `methods` do not have it, Kong answers 404
before the plugin runs.

Why: measured on Kong 3.9.3: no route, no route plugin; methods match letter by letter, and HEAD is not GET
either.

PASS:
    services:
    - name: a
      url: http://a
      routes:
      - name: one
        paths: [/a]
        methods: [GET, OPTIONS]
        plugins: [{name: cors}]

FAIL:
    services:
    - name: a
      url: http://a
      routes:
      - name: one
        paths: [/a]
        methods: [GET]
        plugins: [{name: cors}]
"""

from __future__ import annotations

from collections.abc import Iterator

from decl.findings import WARNING, Level
from decl.lint.hit import Hit
from decl.lint.view import View

ID = "cors-without-options"
LEVEL: Level = WARNING


def check(view: View) -> Iterator[Hit]:
    """Routes with cors and methods but not OPTIONS."""
    for found in view.routes:
        methods = found.route.fields.get("methods")
        if methods and "OPTIONS" not in methods and "cors" in found.plugins:
            message = "cors runs here, but OPTIONS is not among the methods: preflights get 404; add it"
            yield Hit((*found.route.path, "methods"), message)
