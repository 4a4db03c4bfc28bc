"""A protected route whose own passport instance lets anybody pass.

The tag `kgate-protected` says that nobody passes without a token. A passport on the route replaces the one
of the service, the tenant or all requests whole; with another `mode` than `required` the tag says what is
not so, and the guard answers 503.

Why: measured on Kong 3.9.3: one instance of a plugin runs, the most specific one, and takes nothing over
from the wider one.

PASS:
    services:
    - name: pay
      url: http://pay
      plugins: [{name: passport, config: {issuers: [main]}}]
      routes:
      - {name: pay, paths: [/pay], tags: [kgate-protected]}

FAIL:
    services:
    - name: pay
      url: http://pay
      plugins: [{name: passport, config: {issuers: [main]}}]
      routes:
      - name: pay
        paths: [/pay]
        tags: [kgate-protected]
        plugins: [{name: passport, config: {issuers: [main], mode: optional}}]
"""

from __future__ import annotations

from collections.abc import Iterator

from decl.findings import ERROR, Level
from decl.lint.hit import Hit
from decl.lint.view import PROTECTED_TAG, View

ID = "passport-replaced"
LEVEL: Level = ERROR


def check(view: View) -> Iterator[Hit]:
    """Routes tagged protected for which no required passport runs."""
    for found in view.routes:
        if PROTECTED_TAG not in found.route.tags or found.is_protected:
            continue
        passport = found.plugins.get("passport")
        if passport is None:
            yield Hit(found.route.path, f"tagged {PROTECTED_TAG}, but no passport runs here; add one")
        else:
            message = f"replaces the passport of a route tagged {PROTECTED_TAG}; take mode: required"
            yield Hit(passport.path, message, first=found.route.path)
