"""A transformer that touches the passport.

X-Passport is what the front server trusts. A request-transformer runs after the gate: whatever it adds,
renames or replaces there was signed by nobody, and removing it shuts the service.

Why: `PRIORITY = 801` in kong/plugins/request-transformer/handler.lua (3.9), the gate plugins have 1902 to 1905: it
runs below them.

PASS:
    - {name: request-transformer, config: {add: {headers: ["x-team:a"]}}}

FAIL:
    - {name: request-transformer, config: {replace: {headers: ["X-Passport:forged"]}}}

FAIL:
    - {name: request-transformer, config: {rename: {headers: ["x-user:x_passport"]}}}
"""

from __future__ import annotations

from collections.abc import Iterator

from decl.adapter import STRIP
from decl.findings import ERROR, Level
from decl.lint.hit import Hit
from decl.lint.values import items
from decl.lint.view import View

ID = "passport-rewritten"
LEVEL: Level = ERROR

_OURS = {name.lower() for name in STRIP}


def check(view: View) -> Iterator[Hit]:
    """request-transformer operations on headers that only the gateway sets."""
    for placed in view.by_name.get("request-transformer", ()):
        for operation, values in placed.plugin.config.items():
            headers = values.get("headers") if isinstance(values, dict) else None
            for index, entry in enumerate(items(headers)):
                # rename is old:new, the others name:value
                names = str(entry).split(":") if operation == "rename" else [str(entry).partition(":")[0]]
                if any(name.strip().lower().replace("_", "-") in _OURS for name in names):
                    path = (*placed.plugin.path, "config", operation, "headers", index)
                    yield Hit(path, f"{operation} of a header that only the gateway may set; remove it")
                    break
