"""`flatten_errors`: the tree of a configuration's errors as one list of the entities that are wrong.

After declarative_config_flattened of Kong 3.9.3, its oddities too: an error that has no entity at its place
disappears, and a nested list's violation that stands at top level keeps its place in `fields`.
"""

from __future__ import annotations

import copy
from typing import Any

from sandbox.entities import CHILDREN, SINGULAR, foreign_fields
from sandbox.error_shape import rows
from sandbox.ids import is_uuid

Entity = dict[str, Any]


def flatten(config: dict[str, Any], errors: dict[str, Any]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """(the rows of `flattened_errors`, what stays in `fields`). Neither argument is changed.

    config: as posted, with the ids that Kong had given when it found the errors.
    """
    flat: list[dict[str, Any]] = []
    rest: dict[str, Any] = {}
    config = copy.deepcopy(config)
    for kind, section in sorted(errors.items(), reverse=True):
        items = config.get(kind)
        if isinstance(section, str) or not isinstance(items, list | dict):
            rest[kind] = section
            continue
        if isinstance(section, list) and isinstance(items, list):
            for i, error in reversed(list(enumerate(section))):
                if i < len(items) and isinstance(items[i], dict):
                    _entity(kind, items[i], error, flat)
    return flat, rest


def _entity(kind: str, entity: Entity, error: Any, flat: list[dict[str, Any]]) -> None:
    if isinstance(error, str):
        error = {"@entity": [error]}
    if not error or not isinstance(error, dict):
        return
    error = dict(error)
    key = {"id": entity["id"]} if is_uuid(entity.get("id")) else None
    for field, schema in foreign_fields(kind).items():
        value = entity.get(field)
        if isinstance(value, dict):
            entity[field] = {"id": value["id"]} if is_uuid(value.get("id")) else None
            if entity[field] is None:
                del entity[field]
            _entity(schema["reference"], value, error.pop(field, None), flat)
    for name, (child, field) in CHILDREN.get(kind, {}).items():
        items = entity.get(name)
        if isinstance(items, list | dict):
            del entity[name]
            below = error.pop(name, None)
            if isinstance(below, list) and isinstance(items, list):
                _children(child, items, field, key, below, flat)
    if error:
        _row(kind, entity, error, flat)


def _children(
    kind: str, items: list[Any], field: str, key: Any, errors: list[Any], flat: list[dict[str, Any]]
) -> None:
    for i, item in enumerate(items):
        if isinstance(item, dict):
            if key is not None and field not in item:
                item[field] = key
            _entity(kind, item, errors[i] if i < len(errors) else None, flat)


def _row(kind: str, entity: Entity, error: dict[str, Any], flat: list[dict[str, Any]]) -> None:
    row: dict[str, Any] = {
        "entity_type": SINGULAR[kind],
        "entity": _tables(entity),
        "errors": rows("", error),
    }
    if isinstance(entity.get("name"), str) and entity["name"]:
        row["entity_name"] = entity["name"]
    if is_uuid(entity.get("id")):
        row["entity_id"] = entity["id"]
    tags = entity.get("tags")
    if isinstance(tags, list) and all(isinstance(tag, str) for tag in tags):
        row["entity_tags"] = tags or {}
    flat.append(row)


def _tables(value: Any) -> Any:
    """As Lua prints it: an empty list is an empty table."""
    if isinstance(value, dict):
        return {k: _tables(v) for k, v in value.items()}
    return ([_tables(v) for v in value] or {}) if isinstance(value, list) else value
