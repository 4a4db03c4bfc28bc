"""A protected route whose own passport instance lets others pass than the one that it replaces.

The tag `kgate-protected` says that nobody passes without a token. A passport on the route replaces the one
of the service, the tenant or all requests whole. With another `mode` than `required` the tag says what is
not so, and the guard answers 503; with issuers that the wider one does not believe, whoever may write the
route opens it to others. (Fewer issuers, or another audience, are the route's own business.)

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

FAIL:
    services:
    - name: pay
      url: http://pay
      plugins: [{name: passport, config: {issuers: [main]}}]
      routes:
      - name: pay
        paths: [/pay]
        tags: [kgate-protected]
        plugins: [{name: passport, config: {issuers: [main, partner]}}]
"""

from __future__ import annotations

from collections.abc import Iterator

from decl.findings import ERROR, Level
from decl.lint.hit import Hit
from decl.lint.view import PROTECTED_TAG, RouteView, View
from decl.model import Plugin

ID = "passport-replaced"
LEVEL: Level = ERROR


def check(view: View) -> Iterator[Hit]:
    """Routes tagged protected for which no required passport runs, or one that believes more issuers than the one
    that it replaces."""
    for found in view.routes:
        if PROTECTED_TAG not in found.route.tags:
            continue
        passport = found.plugins.get("passport")
        if passport is None:
            yield Hit(found.route.path, f"tagged {PROTECTED_TAG}, but no passport runs here; add one")
            continue
        if not found.is_protected:
            message = f"replaces the passport of a route tagged {PROTECTED_TAG}; take mode: required"
            yield Hit(passport.path, message, first=found.route.path)
            continue
        wider = _wider(view, found, passport)
        more = _issuers(passport) - _issuers(wider) if wider is not None else set()
        if wider is not None and more:
            message = (
                f"replaces the passport of a route tagged {PROTECTED_TAG}, and believes "
                f"{', '.join(sorted(more))}, which that does not; name the issuer there, or leave it out here"
            )
            yield Hit(passport.path, message, first=wider.path)


def _wider(view: View, found: RouteView, passport: Plugin) -> Plugin | None:
    """The instance that this one replaces, if any: the nearest one of a wider scope."""
    of_service = found.service.plugins if found.service is not None else ()
    for plugin in (*of_service, *view.gateway.plugins):
        if plugin.name == passport.name and plugin.path != passport.path and plugin.enabled:
            return plugin
    return None


def _issuers(passport: Plugin) -> set[str]:
    issuers = passport.config.get("issuers")
    return {each for each in issuers if isinstance(each, str)} if isinstance(issuers, list | tuple) else set()
