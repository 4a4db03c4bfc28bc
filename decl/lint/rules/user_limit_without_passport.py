"""A limit or scenario by user on a route where nobody is verified.

A limit keyed by user or token counts verified tokens only: without `passport` on the route it counts nothing, and
neither does a scenario that groups by them.

Why: an unverified token may name anybody, so counting it would let strangers use up another user's limit. Kong's
own rate-limiting takes the address where `limit_by: consumer` finds nobody, and says nothing
(kong/plugins/rate-limiting/handler.lua, 3.9).

PASS:
    services:
    - name: a
      url: http://a.internal
      routes: [{name: a, paths: [/a]}]
      plugins:
      - {name: passport, config: {issuers: [main]}}
      - {name: abuse-guard, config: {limits: [{name: u, key: [user], rate: 20}]}}

FAIL:
    services:
    - name: a
      url: http://a.internal
      routes: [{name: a, paths: [/a]}]
      plugins:
      - {name: abuse-guard, config: {limits: [{name: u, key: [user], rate: 20}]}}

FAIL:
    services:
    - name: a
      url: http://a.internal
      routes: [{name: a, paths: [/a]}]
      plugins:
      - {name: abuse-guard, config: {scenarios: [{use: token-sharing}]}}
"""

from __future__ import annotations

from collections.abc import Iterator

from decl.findings import WARNING, Level
from decl.lint.hit import Hit
from decl.lint.view import View
from kong_plugins.abuse_guard import config as abuse_guard

ID = "user-limit-without-passport"
LEVEL: Level = WARNING


def check(view: View) -> Iterator[Hit]:
    """Instances of abuse-guard that count users, on a route without passport; one finding for each."""
    told = set()
    for each in view.routes:
        plugin = each.plugins.get("abuse-guard")
        if plugin is None or "passport" in each.plugins or plugin.path in told:
            continue
        told.add(plugin.path)
        try:
            config = abuse_guard.parse(plugin.config)
        except ValueError:  # told elsewhere
            continue
        scenarios = config.scenarios.items if config.scenarios is not None else ()
        if config.has_identified_limits or any({"user", "token"} & set(one.group_by) for one in scenarios):
            where = f"route {each.route.name!r}"
            yield Hit(plugin.path, f"it counts users, but {where} has no passport: nobody is counted there")
