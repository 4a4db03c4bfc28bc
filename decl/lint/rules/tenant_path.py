"""A tenant that takes another tenant's path on a host that they share.

On the same host (or on all hosts) the longer path wins, whoever wrote it: a route of one tenant below or at
another's path takes its requests.

Why: measured on Kong 3.9.3: prefixes match without a boundary, so /pay takes /payments too; regexes come
before all prefixes.

PASS:
    tenants: [{name: one, owner: x}, {name: two, owner: y}]
    services:
    - {name: a, tenant: one, url: http://a, routes: [{name: a, paths: [/a]}]}
    - {name: b, tenant: two, url: http://b, routes: [{name: b, paths: [/b]}]}

FAIL:
    tenants: [{name: one, owner: x}, {name: two, owner: y}]
    services:
    - {name: a, tenant: one, url: http://a, routes: [{name: a, paths: [/a]}]}
    - {name: b, tenant: two, url: http://b, routes: [{name: b, paths: [/a/b]}]}
"""

from __future__ import annotations

from collections.abc import Iterator

from decl.findings import ERROR, Level, Path
from decl.lint.hit import Hit
from decl.lint.view import View

ID = "tenant-path"
LEVEL: Level = ERROR


def check(view: View) -> Iterator[Hit]:
    """Paths that begin with a path of another tenant's route on the same host."""
    known: dict[tuple[str, str], tuple[str, Path]] = {}
    todo: list[tuple[str, str, str, Path]] = []
    for found in view.routes:
        if found.tenant is None:
            continue
        for host in found.route.fields.get("hosts") or ("",):
            for index, path in enumerate(found.route.fields.get("paths") or ()):
                at = (*found.route.path, "paths", index)
                if path != "/" and not path.startswith("~"):
                    known.setdefault((host, path), (found.tenant, at))
                todo.append((host, path.removeprefix("~"), found.tenant, at))
    for host, path, tenant, at in todo:
        for start in _prefixes(path):
            owner = known.get((host, start))
            if owner is not None and owner[0] != tenant:
                yield Hit(at, f"{path} takes requests of tenant {owner[0]!r}", first=owner[1])
                break


def _prefixes(path: str) -> Iterator[str]:
    """The path and what of it ends before a slash, shortest last."""
    yield path
    while "/" in path[1:]:
        path = path.rpartition("/")[0]
        yield path
