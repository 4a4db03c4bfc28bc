"""What a plugin's own schema says of a plugin entity: its config, and where it may stand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sandbox import fields

PluginSchemas = Mapping[str, list[Mapping[str, Any]]]


def check(
    entity: dict[str, Any],
    errors: dict[str, Any],
    schemas: PluginSchemas,
) -> None:
    """Fill in the config's defaults; put what is wrong into `errors`.

    A scope that nesting sets is not in the entity yet: Kong does not look at it either.
    """
    name = entity.get("name")
    schema = schemas.get(name) if isinstance(name, str) else None
    if schema is None:  # there is no schema to look at the rest with
        shown = name if isinstance(name, str) else "nil"
        unknown = f"plugin '{shown}' not enabled; add it to the 'plugins' configuration property"
        errors.clear()
        errors["name"] = fields.MISSING if name is None else unknown
        return
    for key, field in fields.each(schema):
        if key == "config":
            value = entity.get("config")
            config, error = fields.one({**field, "required": True}, {} if value is None else value)
            entity["config"] = config
            if error is not None:
                errors["config"] = error
        elif key in ("route", "service", "consumer"):
            if entity.get(key) is not None and field.get("eq") is fields.NULL_ONLY:
                errors[key] = "value must be null"
        elif key == "protocols":
            _, error = fields.one(field, entity.get(key))
            if error is not None:
                errors[key] = error


def may_stand(entity: dict[str, Any], scope: str, schemas: PluginSchemas) -> bool:
    """Whether a plugin's schema lets it belong to a route, service or consumer."""
    name = entity.get("name")
    schema = schemas.get(name, []) if isinstance(name, str) else []
    return dict(fields.each(schema)).get(scope, {}).get("eq") is not fields.NULL_ONLY
