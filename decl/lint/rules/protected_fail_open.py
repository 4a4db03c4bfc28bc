"""A required passport that fails open.

`fail: open` lets requests pass when there is no verdict, so whoever can make the plugin server slow gets in
without a token. A route that needs a passport should answer 503 then, which is the default. `--fix` writes
`closed`.

Why: Kong 3.9.3 itself lets requests pass when an external plugin's server is dead or hangs; the guard is
what `fail: open` switches off.

PASS:
    - {name: passport, config: {issuers: [main], fail: closed}}
    - {name: passport, config: {issuers: [main], mode: optional, fail: open}}

FAIL:
    - {name: passport, config: {issuers: [main], mode: required, fail: open}}
"""

from __future__ import annotations

from collections.abc import Iterator

from decl.findings import WARNING, Level
from decl.lint.hit import Fix, Hit
from decl.lint.view import View, is_required

ID = "protected-fail-open"
LEVEL: Level = WARNING


def check(view: View) -> Iterator[Hit]:
    """Passports with mode required and fail open."""
    for placed in view.by_name.get("passport", ()):
        plugin = placed.plugin
        if plugin.config.get("fail") == "open" and is_required(plugin):
            path = (*plugin.path, "config", "fail")
            message = "a required passport with fail: open lets everybody in while the plugin server is away"
            yield Hit(path, message, fix=Fix(path, "closed"))
