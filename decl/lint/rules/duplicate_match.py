"""Two routes that want exactly the same requests.

Same hosts, paths, methods, headers and protocols: only one of them ever gets a request.

Why: measured on Kong 3.9.3: of equal routes the one with the larger id wins, whatever the file's order, so
nobody can tell which from the file.

PASS:
    services:
    - name: a
      url: http://a
      routes:
      - {name: one, paths: [/a], methods: [GET]}
      - {name: two, paths: [/a], methods: [POST]}

FAIL:
    services:
    - name: a
      url: http://a
      routes:
      - {name: one, paths: [/a], hosts: [x.example]}
      - {name: two, paths: [/a], hosts: [x.example]}
"""

from __future__ import annotations

from collections.abc import Iterator

from decl.findings import ERROR, Level, Path
from decl.lint.hit import Hit
from decl.lint.matching import Key, keys
from decl.lint.view import View

ID = "duplicate-match"
LEVEL: Level = ERROR


def check(view: View) -> Iterator[Hit]:
    """Routes that share a host, path and method with an earlier one and differ in nothing else."""
    seen: dict[Key, Path] = {}
    for found in view.routes:
        for key in keys(found.route.fields):
            first = seen.setdefault(key, found.route.path)
            if first is not found.route.path:
                shown = " ".join(part for part in (key.method, key.host + key.path) if part)
                shown = shown or "by sources, destinations or SNIs"
                yield Hit(found.route.path, f"another route wants the same requests ({shown})", first=first)
                break
