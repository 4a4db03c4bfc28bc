"""A request-termination that nobody will remember.

A route that is switched off by hand tends to stay off. Tag the instance `expires:YYYY-MM-DD`: the day from
which on lint reports it again. On a route without a service it is the answer itself: nothing is switched off.

Why: Kong 3.9 has no expiry on plugins (kong/db/schema/entities/plugins.lua), so the tag and this rule are it.

PASS:
    - {name: request-termination, tags: ["expires:2199-01-31"], config: {status_code: 503}}

PASS:
    routes:
    - {name: last, paths: [/], plugins: [{name: request-termination, config: {status_code: 404}}]}

FAIL:
    - {name: request-termination, config: {status_code: 503}}

FAIL:
    - {name: request-termination, tags: ["expires:2020-01-31"], config: {status_code: 503}}

FAIL:
    - {name: request-termination, tags: ["expires:soon"], config: {status_code: 503}}
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from decl.findings import WARNING, Level
from decl.lint.hit import Hit
from decl.lint.view import View

ID = "termination-without-expiry"
LEVEL: Level = WARNING

_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


def check(view: View) -> Iterator[Hit]:
    """Enabled instances without a date to come."""
    for placed in view.by_name.get("request-termination", ()):
        without_service = placed.route is not None and placed.service is None
        if not placed.plugin.enabled or without_service:
            continue
        dates = [tag[8:] for tag in placed.plugin.fields.get("tags") or () if tag.startswith("expires:")]
        if not dates or not _DATE.fullmatch(dates[0]):
            yield Hit(placed.plugin.path, "switched off without an end; tag it expires:YYYY-MM-DD")
        elif view.today and dates[0] <= view.today:
            yield Hit(placed.plugin.path, f"it was to end on {dates[0]}; remove it or move the date")
