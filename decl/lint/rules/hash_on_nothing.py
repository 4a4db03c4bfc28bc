"""Consistent hashing that is not told what to hash.

Without `hash_on` Kong 3.9 makes `round-robin` of `consistent-hashing` each time that the upstream is written to a
database, and a DB-less node has nothing to hash: clients change targets all the time.

Why: measured on Kong 3.9.3: PUT with `algorithm: consistent-hashing` alone answers `round-robin`.

PASS:
    upstreams:
    - {name: u, algorithm: consistent-hashing, hash_on: ip, targets: [{target: "a:1"}]}
    services: [{name: a, host: u}]

FAIL:
    upstreams:
    - {name: u, algorithm: consistent-hashing, targets: [{target: "a:1"}]}
    services: [{name: a, host: u}]
"""

from __future__ import annotations

from collections.abc import Iterator

from decl.findings import WARNING, Level
from decl.lint.hit import Hit
from decl.lint.view import View

ID = "hash-on-nothing"
LEVEL: Level = WARNING


def check(view: View) -> Iterator[Hit]:
    """Upstreams with consistent hashing and no input."""
    for upstream in view.gateway.upstreams:
        fields = upstream.fields
        if fields.get("algorithm") == "consistent-hashing" and fields.get("hash_on", "none") == "none":
            message = "there is nothing to hash; set hash_on: ip, header, cookie, consumer, path or the like"
            yield Hit((*upstream.path, "algorithm"), message)
