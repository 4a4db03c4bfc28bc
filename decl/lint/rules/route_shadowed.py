r"""A route that another one answers for.

A regular expression is tried before every plain path, by `regex_priority`: one that matches a plain path of
another route with the same hosts and methods takes all its requests.

Why: measured on Kong 3.9.3: regexes are anchored at the start and always come before prefixes.

PASS:
    services:
    - name: a
      url: http://a
      routes:
      - {name: one, paths: ["~/api/v\\d+/x"]}
      - {name: two, paths: [/api/users]}

FAIL:
    services:
    - name: a
      url: http://a
      routes:
      - {name: one, paths: ["~/api/.*"]}
      - {name: two, paths: [/api/users]}
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from decl.findings import WARNING, Level
from decl.lint.hit import Hit
from decl.lint.matching import compile_path, covers
from decl.lint.view import View
from decl.model import Route

ID = "route-shadowed"
LEVEL: Level = WARNING

_SEGMENT = re.compile(r"/[A-Za-z0-9_-]+/")


def check(view: View) -> Iterator[Hit]:
    """Plain paths that a regex of another route matches to their end."""
    by_start: dict[str, list[tuple[Route, re.Pattern[str]]]] = {}
    for found in view.routes:
        for path in found.route.fields.get("paths") or ():
            if path.startswith("~") and (compiled := compile_path(path)) is not None:
                by_start.setdefault(_start(path[1:]), []).append((found.route, compiled))
    if not by_start:
        return
    for found in view.routes:
        for path in found.route.fields.get("paths") or ():
            if path.startswith("~"):
                continue
            # the regex must take the path and what may follow it
            for other, compiled in (*by_start.get("", ()), *by_start.get(_start(f"{path}/"), ())):
                if other is found.route or not covers(other.fields, found.route.fields):
                    continue
                match = compiled.match(path + "/z")
                if match is not None and match.end() == len(path) + 2:
                    message = f"route {other.name!r} takes the requests for {path}: a regex comes first"
                    yield Hit(found.route.path, message, first=other.path)
                    break


def _start(path: str) -> str:
    """The first segment where it is plain text: of thousands of regexes only few need to be tried."""
    match = _SEGMENT.match(path)
    return match.group() if match is not None and "|" not in path else ""
