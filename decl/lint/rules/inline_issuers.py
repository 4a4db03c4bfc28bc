"""Trust anchors inside Kong's config.

`inline_issuers` lets whoever can write Kong's config decide whose tokens count. Name issuers in the file's
`issuers`: they go to the plugin server, where only its operator writes.

Why: stock Kong 3.9's Admin API has no authentication of its own; neither it nor the plugin server's socket must be
able to bring an own key set (docs/protocol.md).

PASS:
    issuers: [{name: main, iss: x, jwks_url: "http://a/jwks", audiences: [b]}]
    plugins: [{name: passport, config: {issuers: [main]}}]

FAIL:
    plugins: [{name: passport, config: {issuers: [main], inline_issuers: "[]"}}]
"""

from __future__ import annotations

from collections.abc import Iterator

from decl.findings import WARNING, Level
from decl.lint.hit import Hit
from decl.lint.view import View

ID = "inline-issuers"
LEVEL: Level = WARNING


def check(view: View) -> Iterator[Hit]:
    """Passports with inline issuers."""
    for placed in view.by_name.get("passport", ()):
        if placed.plugin.config.get("inline_issuers"):
            path = (*placed.plugin.path, "config", "inline_issuers")
            yield Hit(path, "trust anchors in Kong's config; name them in the file's issuers instead")
