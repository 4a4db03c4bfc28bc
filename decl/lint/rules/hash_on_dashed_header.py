"""Consistent hashing on a header with a dash.

Kong 3.9 looks the name up with underscores: with a dash it finds nothing and sends all requests to one
target. Write `x_user` for X-User.

Why: measured on Kong 3.9.3: `hash_on_header: x-u` always gave one target, `x_u` spread.

PASS:
    upstreams:
    - {name: u, algorithm: consistent-hashing, hash_on: header, hash_on_header: x_user, targets: [{target: "a:1"}]}
    services: [{name: a, host: u}]

FAIL:
    upstreams:
    - {name: u, algorithm: consistent-hashing, hash_on: header, hash_on_header: x-user, targets: [{target: "a:1"}]}
    services: [{name: a, host: u}]
"""

from __future__ import annotations

from collections.abc import Iterator

from decl.findings import WARNING, Level
from decl.lint.hit import Hit
from decl.lint.view import View

ID = "hash-on-dashed-header"
LEVEL: Level = WARNING


def check(view: View) -> Iterator[Hit]:
    """Upstreams that hash on such a header."""
    for upstream in view.gateway.upstreams:
        for field in ("hash_on_header", "hash_fallback_header"):
            name = upstream.fields.get(field) or ""
            if "-" in name:
                message = f"Kong finds no header {name!r} here; write {name.replace('-', '_')}"
                yield Hit((*upstream.path, field), message)
