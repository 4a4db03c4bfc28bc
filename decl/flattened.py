"""The errors of `flatten_errors=1`: what Kong says against each entity of a config that it refuses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

_NULL = "value must be null"


class EntityError(NamedTuple):
    """One error of Kong in one entity; `field` is dotted and counts list items from 1, "" for the entity."""

    entity_type: str
    entity_id: str | None
    entity_name: str | None
    field: str
    message: str


def entity_errors(body: Mapping[str, Any]) -> tuple[EntityError, ...]:
    """Kong's flattened errors. An empty list arrives as {}."""
    found = []
    entities = body.get("flattened_errors")
    for entity in entities if isinstance(entities, list) else []:
        for error in entity.get("errors", ()):
            messages = error.get("messages") or [error.get("message", "is refused")]
            for message in messages:
                found.append(
                    EntityError(
                        entity_type=str(entity.get("entity_type", "entity")),
                        entity_id=entity.get("entity_id"),
                        entity_name=entity.get("entity_name"),
                        field=str(error.get("field", "")),
                        message=str(message),
                    )
                )
    # beside a true error Kong tells this of right references too
    return tuple(error for error in found if error.message != _NULL) or tuple(found)
