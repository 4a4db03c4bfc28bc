"""Any web site may call with the user's cookies.

`credentials: true` with origin `*` lets the plugin echo each caller's origin: any page that a user visits
can read answers in that user's name. Name the origins.

Why: measured on Kong 3.9.3: with `*` and credentials its cors plugin answers any Origin with just that one and
`Access-Control-Allow-Credentials: true` (kong/plugins/cors/handler.lua); OWASP's CORS advice.

PASS:
    - {name: cors, config: {origins: ["https://shop.example"], credentials: true}}

FAIL:
    - {name: cors, config: {origins: ["*"], credentials: true}}
"""

from __future__ import annotations

from collections.abc import Iterator

from decl.findings import WARNING, Level
from decl.lint.hit import Hit
from decl.lint.view import View

ID = "cors-any-origin-with-credentials"
LEVEL: Level = WARNING


def check(view: View) -> Iterator[Hit]:
    """cors with credentials and no or all origins."""
    for placed in view.by_name.get("cors", ()):
        config = placed.plugin.config
        origins = config.get("origins") or ["*"]
        if config.get("credentials") is True and "*" in origins:
            yield Hit((*placed.plugin.path, "config"), "credentials with any origin; name the origins")
