"""A scenario about scans of paths, while requests that match no route are seen by nobody.

Who looks for holes asks for what is not there (`/.env`, `/wp-login.php`), which mostly matches no route. A last
route without hosts, with the path `/`, the same abuse-guard and a 404, has these counted and refused like all others.

Why: measured on Kong 3.9.3: what matches no route gets Kong's own 404 before any plugin's access phase.

PASS:
    plugins:
    - {name: abuse-guard, config: {scenarios: [{use: path-scan}]}}
    services:
    - name: a
      url: http://a.internal
      routes: [{name: a, paths: [/a]}]
    routes:
    - name: unmatched
      paths: [/]
      tags: [public]
      plugins:
      - {name: request-termination, config: {status_code: 404, message: Not found}}

PASS:
    plugins:
    - {name: abuse-guard, config: {scenarios: [{use: credential-stuffing}]}}
    services:
    - name: a
      url: http://a.internal
      routes: [{name: a, paths: [/a]}]

FAIL:
    plugins:
    - {name: abuse-guard, config: {scenarios: [{use: path-scan}]}}
    services:
    - name: a
      url: http://a.internal
      routes: [{name: a, paths: [/a]}, {name: b, hosts: [b.example], paths: [/]}]
"""

from __future__ import annotations

from collections.abc import Iterator

from decl.findings import WARNING, Level
from decl.lint.hit import Hit
from decl.lint.view import RouteView, View
from kong_plugins.abuse_guard import config as abuse_guard

ID = "unmatched-unseen"
LEVEL: Level = WARNING

_CONDITIONS = ("hosts", "methods", "headers", "snis")


def check(view: View) -> Iterator[Hit]:
    """The first instance of abuse-guard that looks for scans, where no last route has one."""
    if any(_is_last(found) for found in view.routes):
        return
    for placed in view.by_name.get("abuse-guard", ()):
        try:
            config = abuse_guard.parse(placed.plugin.config)
        except ValueError:  # told elsewhere
            continue
        scenarios = config.scenarios.items if config.scenarios is not None else ()
        # of any path, and by how many there are that are not there
        scans = [
            each.name
            for each in scenarios
            if each.distinct == "path" and not each.paths and each.fits_answer("404", "")
        ]
        if scans:
            yield Hit(
                placed.plugin.path,
                f"{scans[0]} does not see requests that match no route; add a last route with paths: [/], this "
                "abuse-guard and request-termination (404)",
            )
            return


def _is_last(found: RouteView) -> bool:
    fields = found.route.fields
    return (
        "/" in (fields.get("paths") or ())
        and not any(map(fields.get, _CONDITIONS))
        and "abuse-guard" in found.plugins
    )
