"""References: every name that is used must be there, once it is clear that all files could be read."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from decl.file_kinds import KINDS, SINGULAR
from decl.findings import Path, Problem
from decl.walk import Entity, reference
from kong_plugins.canary_router import config as canary_router

RULE = "dangling-reference"

_FOREIGN = {
    "service": "services",
    "route": "routes",
    "consumer": "consumers",
    "upstream": "upstreams",
    "certificate": "certificates",
    "client_certificate": "certificates",
    "set": "key_sets",
}
_PARENT_FIELD = {above: field for kind in KINDS.values() for above, field in kind.parents if field}

Names = Mapping[str, set[str]]


def check_references(document: Mapping[str, Any], entities: Iterable[Entity]) -> Iterator[Problem]:
    """Names that nothing has, and children that name another parent than the one they stand in."""
    entities = tuple(entities)
    names = _names(document, entities)
    for entity in entities:
        for field, kind in _FOREIGN.items():
            if field in entity.values and not (entity.kind == "services" and field == "route"):
                yield from _foreign(entity, field, kind, names)
        yield from _without_parent(entity)
        if entity.kind == "services":
            yield from _named(entity.values.get("tenant"), (*entity.path, "tenant"), "tenants", names)
            listed = entity.values.get("ca_certificates")
            for index, name in enumerate(listed if isinstance(listed, list) else ()):
                yield from _named(name, (*entity.path, "ca_certificates", index), "ca_certificates", names)
        elif entity.kind == "upstreams":
            yield from _named(entity.values.get("tenant"), (*entity.path, "tenant"), "tenants", names)
        elif entity.kind == "tenants":
            for field in ("cluster", "standby"):
                yield from _named(entity.values.get(field), (*entity.path, field), "clusters", names)
        elif entity.kind == "plugins":
            yield from _plugin(entity, names)


def _names(document: Mapping[str, Any], entities: Iterable[Entity]) -> Names:
    names: dict[str, set[str]] = {}
    for entity in entities:
        known = names.setdefault(entity.kind, set())
        for key in KINDS[entity.kind].keys:
            value = entity.values.get(key)
            if isinstance(value, str):
                known.add(value)
    clusters = document.get("clusters")
    names["clusters"] = set(clusters) if isinstance(clusters, dict) else set()
    return names


def _foreign(entity: Entity, field: str, kind: str, names: Names) -> Iterator[Problem]:
    path = (*entity.path, field)
    parent = entity.parent
    target = reference(entity.values[field])
    if parent is not None and _PARENT_FIELD.get(parent.kind) == field:
        own = {parent.text(key) for key in KINDS[parent.kind].keys}
        if target not in own:
            message = f"it stands in {parent.label}, so it cannot name another {field}"
            yield Problem(path, "wrong-value", message)
        return
    yield from _named(target, path, kind, names)


def _without_parent(entity: Entity) -> Iterator[Problem]:
    field = KINDS[entity.kind].needs
    if field and entity.parent is None and field not in entity.values:
        yield Problem(entity.path, "missing-field", f"field {field!r} is missing")


def _named(name: Any, path: Path, kind: str, names: Names) -> Iterator[Problem]:
    known = names.get(kind, set())
    if not isinstance(name, str) or name in known:
        return
    singular = SINGULAR.get(kind, kind[:-1])
    close = difflib.get_close_matches(name, known, 1)
    hint = f", did you mean {close[0]!r}?" if close else ""
    yield Problem(path, RULE, f"there is no {singular} {name!r} in the files{hint}")


def _plugin(entity: Entity, names: Names) -> Iterator[Problem]:
    config = entity.values.get("config")
    if not isinstance(config, dict):
        return
    path = (*entity.path, "config")
    if entity.text("name") == "canary-router":
        for place, upstream in canary_router.upstreams(config).items():
            yield from _named(upstream, (*path, *place), "upstreams", names)
    elif entity.text("name") == "passport" and isinstance(config.get("issuers"), list):
        for index, issuer in enumerate(config["issuers"]):
            yield from _named(issuer, (*path, "issuers", index), "issuers", names)
