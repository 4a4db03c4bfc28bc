"""A route without authentication.

Where the gateway asks for no identity, the front server gets requests from anybody. If that is meant, say
so: give the route a passport with `mode: optional` or `mode: forbidden`, or tag it `public`. Routes of tenants are
looked at, and all routes of files that have a passport or issuers anywhere; with the option `everywhere` those of any
file.

Why: stock Kong 3.9 asks nobody who they are on a route without such a plugin: a new route is open until somebody
remembers to close it, the commonest hole in Kong files.

PASS:
    tenants:
    - name: shop
      plugins:
      - {name: passport, config: {issuers: [main]}}

PASS:
    services:
    - name: docs
      url: http://docs
      routes:
      - {name: docs, paths: [/docs], tags: [public]}

PASS:
    services:
    - name: plain # a file without tenants, issuers and passports
      url: http://plain
      routes:
      - {name: plain, paths: [/plain]}

FAIL:
    services:
    - name: pay
      url: http://pay
      routes:
      - {name: pay, paths: [/pay], plugins: [{name: passport, config: {issuers: [main]}}]}
      - {name: refund, paths: [/refund]}

FAIL:
    issuers: [{name: main, iss: i, algorithms: [HS256], secret_env: S}]
    services:
    - name: store
      url: tcp://store:6379
      routes:
      - {name: store, protocols: [tcp], destinations: [{port: 6379}]}

FAIL:
    tenants:
    - name: shop
    services:
    - name: cart
      tenant: shop
      url: http://cart:8080
      routes:
      - {name: cart, paths: [/cart]}
"""

from __future__ import annotations

from collections.abc import Iterator

from decl.findings import WARNING, Level
from decl.lint.hit import Hit
from decl.lint.view import AUTHENTICATION, View

ID = "no-passport"
LEVEL: Level = WARNING
OPTIONS = {"everywhere": False}


def check(view: View) -> Iterator[Hit]:
    """Routes for which no authentication plugin runs."""
    everywhere = view.option(ID, "everywhere") or view.gateway.issuers or "passport" in view.by_name
    for found in view.routes:
        if found.tenant is None and not everywhere:
            continue
        if AUTHENTICATION.isdisjoint(found.plugins) and "public" not in found.route.tags:
            whose = f"route of tenant {found.tenant!r}" if found.tenant else "route"
            if found.stream is not None:
                message = (
                    f"{found.stream} {whose}, where no authentication can run; tag it public if that is meant"
                )
                yield Hit(found.route.path, message)
                continue
            message = f"{whose} without a passport or other authentication"
            yield Hit(found.route.path, f"{message}; add one, or a passport with mode: optional")
