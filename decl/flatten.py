"""Flatten: from the nested document that render makes to single entities as the Admin API holds them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from decl import ids
from decl.kinds import CHILDREN, KINDS

Entity = dict[str, Any]
Flat = dict[str, dict[str, Entity]]
"""kind -> id -> entity; foreign keys are {"id": ...}."""


def flatten(document: Mapping[str, Any], tags: Iterable[str] = ()) -> Flat:
    """The entities of a rendered document. tags: given to every entity that does not have them.

    Nulls are left out: to Kong they mean the same as an absent field. Raises ValueError for an entity without
    an id, which render never makes.
    """
    flat: Flat = {kind: {} for kind in KINDS}
    names: dict[tuple[str, str], str] = {}
    extra = tuple(tags)
    for kind in KINDS:
        for item in document.get(kind) or ():
            _add(flat, names, kind, item, {}, extra)
    for kind, refs in ((name, kind.refs) for name, kind in KINDS.items() if kind.refs):
        for entity in flat[kind].values():
            for field, parent in refs.items():
                value = entity.get(field)
                if isinstance(value, str):
                    entity[field] = {"id": names.get((parent, value), value)}
    return flat


def _add(
    flat: Flat,
    names: dict[tuple[str, str], str],
    kind: str,
    item: Mapping[str, Any],
    parent: Entity,
    tags: tuple[str, ...],
) -> None:
    children = CHILDREN[kind]
    entity: Entity = {
        name: value
        for name, value in item.items()
        if value is not None and name not in children and name not in _NOTES
    }
    entity.update(parent)
    if kind == "plugins" and "config" in entity:
        entity["config"] = without_nulls(entity["config"])
    if tags:
        entity["tags"] = list(dict.fromkeys((*entity.get("tags", ()), *tags)))
    entity_id = entity.get("id")
    if not isinstance(entity_id, str):
        if kind != "snis":
            raise ValueError(f"{KINDS[kind].singular}: an entity without an id cannot be written")
        entity_id = entity["id"] = ids.entity_id(kind, entity["name"])
    flat[kind][entity_id] = entity
    name = entity.get(KINDS[kind].unique[0][0]) if KINDS[kind].unique else None
    if isinstance(name, str) and kind != "plugins":
        names[kind, name] = entity_id
    for child, field in children.items():
        for below in item.get(child) or ():
            if isinstance(below, str):  # a certificate's snis may be names
                below = {"name": below}
            _add(flat, names, child, below, {field: {"id": entity_id}}, tags)


_NOTES = frozenset(("_comment", "_ignore", "created_at", "updated_at", "ws_id", "cert_digest"))


def without_nulls(value: Any) -> Any:
    """The value without fields that are null, at any depth."""
    if isinstance(value, Mapping):
        return {name: without_nulls(item) for name, item in value.items() if item is not None}
    if isinstance(value, list):
        return [without_nulls(item) for item in value]
    return value


def each(flat: Flat) -> Iterator[tuple[str, str, Entity]]:
    """Every entity with its kind and id, parents before children."""
    for kind, items in flat.items():
        for entity_id, entity in items.items():
            yield kind, entity_id, entity


def name_of(kind: str, entity: Mapping[str, Any], flat: Flat | None = None) -> str:
    """What people call an entity: its name, for a plugin with what it stands on. Never a secret."""
    if kind == "plugins":
        scopes = [
            f"{KINDS[parent].singular} {_parent_name(flat, parent, entity[field]['id'])}"
            for field, parent in KINDS[kind].refs.items()
            if isinstance(entity.get(field), Mapping)
        ]
        return f"{entity['name']} on {', '.join(scopes)}" if scopes else str(entity["name"])
    if kind in ("keyauth_credentials", "jwt_secrets", "oauth2_credentials"):
        owner = (entity.get("consumer") or {}).get("id", "")
        return f"{str(entity.get('id', ''))[:8]} of {_parent_name(flat, 'consumers', owner)}"
    if kind == "targets":
        owner = (entity.get("upstream") or {}).get("id", "")
        return f"{entity['target']} of {_parent_name(flat, 'upstreams', owner)}"
    for field in ("name", "username", "prefix", "group", "custom_id"):
        if isinstance(entity.get(field), str):
            return str(entity[field])
    return str(entity.get("id", "?"))


def _parent_name(flat: Flat | None, kind: str, entity_id: str) -> str:
    found = flat[kind].get(entity_id) if flat is not None else None
    return entity_id[:8] if found is None else name_of(kind, found)
