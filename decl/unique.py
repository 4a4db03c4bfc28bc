"""Which entity is the same as one of the files: by the fields that Kong takes once (decl/kinds.py). Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from decl.flatten import Entity
from decl.kinds import KINDS
from decl.kong.values import full_target


def _key(entity: Mapping[str, Any], group: tuple[str, ...]) -> tuple[Any, ...] | None:
    values = []
    for name in group:
        value = entity.get(name)
        values.append(value.get("id") if isinstance(value, Mapping) else value)
    return None if len(group) == 1 and values[0] is None else tuple(values)


def index_of(kind: str, items: Mapping[str, Entity]) -> dict[tuple[int, Any], Entity]:
    """Entities of a kind by each of their unique groups of fields, for `find_same`."""
    out: dict[tuple[int, Any], Entity] = {}
    for number, group in enumerate(KINDS[kind].unique):
        for entity in items.values():
            key = _key(entity, group)
            if key is not None:
                out.setdefault((number, key), entity)
    return out


def find_same(kind: str, entity: Entity, index: Mapping[tuple[int, Any], Entity]) -> Entity | None:
    """The entity in the index that has one of this one's unique groups of fields, if any."""
    if kind == "targets":
        entity = {**entity, "target": full_target(entity["target"])}
    if kind == "plugins":  # an instance's name may go to another scope: that is not the same instance
        key = _key(entity, KINDS[kind].unique[0])
        return index.get((0, key))
    for number, group in enumerate(KINDS[kind].unique):
        key = _key(entity, group)
        if key is not None and (number, key) in index:
            return index[number, key]
    return None


def settled_keys(wanted: Mapping[str, Entity], live: Mapping[str, Entity]) -> dict[str, str]:
    """API keys: the id in the file -> the one that it has or gets in the live Kong.

    Without a name their ids say the place in the list only, so a key stays the entity that has it: it is never taken
    away, not for a moment, because one before it in the list was removed.
    """
    by_key = {entity.get("key"): entity_id for entity_id, entity in live.items()}
    found = {
        file_id: by_key[entity["key"]] for file_id, entity in wanted.items() if entity.get("key") in by_key
    }
    used = set(found.values())
    left = [file_id for file_id in wanted if file_id not in found]
    for file_id in left:
        if file_id not in used:
            found[file_id] = file_id
            used.add(file_id)
    free = iter([file_id for file_id in wanted if file_id not in used])
    return {**{file_id: next(free) for file_id in left if file_id not in found}, **found}
