"""A required passport that fails open.

`fail: open` lets requests pass when there is no verdict, so whoever can make the plugin server slow gets in
without a token. A route that needs a passport should answer 503 then, which is the default.

PASS:
    - {name: passport, config: {issuers: [main], fail: closed}}
    - {name: passport, config: {issuers: [main], mode: optional, fail: open}}

FAIL:
    - {name: passport, config: {issuers: [main], mode: required, fail: open}}
"""

from __future__ import annotations

from collections.abc import Iterator

from decl.findings import WARNING, Level
from decl.lint.hit import Hit
from decl.model import Gateway

ID = "protected-fail-open"
LEVEL: Level = WARNING


def check(gateway: Gateway) -> Iterator[Hit]:
    """Passports with mode required and fail open."""
    for _, _, plugin in gateway.all_plugins():
        if plugin.name != "passport" or plugin.config.get("fail") != "open":
            continue
        if (plugin.config.get("mode") or "required") == "required":
            message = "a required passport with fail: open lets everybody in while the plugin server is away"
            yield Hit((*plugin.path, "config", "fail"), message)
