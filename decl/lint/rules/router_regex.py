r"""A regular expression that Kong's router does not take.

Kong checks a path with PCRE, and then its router (`router_flavor = traditional_compatible`, the default) compiles
it with Rust's crate `regex`, which knows neither look-around nor back references, and takes `{` for a repetition.
Kong refuses the whole config for it. With `router_flavor = traditional` switch the rule off.

Why: Kong 3.9.3 answers "Router Expression failed validation: regex parse error"; Kong 3.0 changed the engine, and old
files keep such paths.

PASS:
    services:
    - name: a
      url: http://a
      routes:
      - {name: one, paths: ["~/users/(?<id>\\d{1,9})$"], headers: {x-app: ["~*^shop-[a-z]+$"]}}

FAIL:
    services:
    - name: a
      url: http://a
      routes:
      - {name: one, paths: ["~/(?!admin)[a-z]+$"]}
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

from decl.findings import ERROR, Level
from decl.kong.expressions import bad_regex
from decl.lint.hit import Hit
from decl.lint.view import View

ID = "router-regex"
LEVEL: Level = ERROR


def check(view: View) -> Iterator[Hit]:
    """Paths and header values of routes that are regular expressions."""
    for found in view.routes:
        fields, at = found.route.fields, found.route.path
        for index, path in enumerate(fields.get("paths") or ()):
            if path.startswith("~") and (why := _refused(path[1:].replace("?<", "?P<"))):
                yield Hit((*at, "paths", index), f"the router does not take this regular expression: {why}")
        for name, values in (fields.get("headers") or {}).items():
            for index, value in enumerate(values):
                if value.startswith("~*") and (why := _refused(value[2:].lower())):
                    message = f"the router does not take this regular expression: {why}"
                    yield Hit((*at, "headers", name, index), message)


_refused = cache(bad_regex)
