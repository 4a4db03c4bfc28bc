r"""A prepared answer that has outgrown the config.

A body of more than `lines` lines in static-fallback or request-termination is content: it is copied into
every worker and pushed with every change. Keep a short answer here and the content in a front server.

Why: measured on Kong 3.9.3: more than 10 MB of config are answered 413, and the answers are a part of it; the
adapter keeps 8 MB of them in each worker.

PASS:
    - {name: static-fallback, config: {responses: [{on: [502], json: {items: []}}]}}

FAIL:
    - name: request-termination
      tags: ["expires:2199-01-01"]
      config:
        body: "\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n"
"""

from __future__ import annotations

from collections.abc import Iterator

from decl.findings import WARNING, Level
from decl.lint.hit import Hit
from decl.lint.values import texts
from decl.lint.view import View

ID = "body-template"
LEVEL: Level = WARNING
OPTIONS = {"lines": 40}


def check(view: View) -> Iterator[Hit]:
    """Long bodies."""
    most = view.option(ID, "lines")
    for name in ("static-fallback", "request-termination"):
        for placed in view.by_name.get(name, ()):
            for path, text in texts(placed.plugin.config, (*placed.plugin.path, "config")):
                if path[-1] == "body" and (lines := len(text.splitlines())) > most:
                    yield Hit(path, f"a body of {lines} lines; keep content in a front server")
