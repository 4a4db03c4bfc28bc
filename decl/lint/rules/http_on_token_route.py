"""A route that takes tokens over plain http.

A token that crossed a network in clear is everybody's. Take `protocols: [https]`, with
`https_redirect_status_code` for browsers. Routes that do not say their protocols (Kong's default is both)
are looked at with the option `defaults: true`, for nodes that end TLS themselves.

Why: Kong's default protocols are http and https, and 3.9.3 answers 426 on an https-only route over http.

PASS:
    services:
    - name: a
      url: http://a
      routes:
      - name: one
        paths: [/a]
        protocols: [https]
        plugins: [{name: key-auth}]

FAIL:
    services:
    - name: a
      url: http://a
      routes:
      - name: one
        paths: [/a]
        protocols: [http, https]
        plugins: [{name: key-auth}]
"""

from __future__ import annotations

from collections.abc import Iterator

from decl.findings import WARNING, Level
from decl.lint.hit import Hit
from decl.lint.view import AUTHENTICATION, View

ID = "http-on-token-route"
LEVEL: Level = WARNING
OPTIONS = {"defaults": False}


def check(view: View) -> Iterator[Hit]:
    """Routes with authentication and http among their protocols."""
    for found in view.routes:
        protocols = found.route.fields.get("protocols")
        if protocols is None and not view.option(ID, "defaults"):
            continue
        if "http" in (protocols or ("http", "https")) and not AUTHENTICATION.isdisjoint(found.plugins):
            path = found.route.path if protocols is None else (*found.route.path, "protocols")
            yield Hit(path, "tokens may come over plain http; take protocols: [https]")
