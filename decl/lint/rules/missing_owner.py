"""A tenant of nobody.

When it fails at night, somebody has to know whom to call: `owner` becomes the tag `owner:NAME` on its
services and routes.

Why: without an owner on the entity an alert on a route cannot be sent to a team; tags are all that Kong 3.9 has
for it (kong/db/schema/entities/services.lua; Kong/deck#28 on teams and tags).

PASS:
    tenants: [{name: one, owner: team-one}]

FAIL:
    tenants: [{name: one}]
"""

from __future__ import annotations

from collections.abc import Iterator

from decl.findings import WARNING, Level
from decl.lint.hit import Hit
from decl.lint.view import View

ID = "missing-owner"
LEVEL: Level = WARNING


def check(view: View) -> Iterator[Hit]:
    """Tenants without `owner`."""
    for tenant in view.gateway.tenants.values():
        if not tenant.owner:
            yield Hit(tenant.path, f"tenant {tenant.name!r} has no owner; name the team")
