"""From Kong's schema language to JSON Schema (2020-12), and to the defaults that Kong fills in.

Kong describes a record as a list of one-key maps, `[{"fail": {"type": "string", "default": "closed"}}, ...]`
(kong/db/schema/init.lua, kong/db/schema/metaschema.lua). A field that Kong fills by itself (a default, a
record of defaults) is not required here; null means "absent" to Kong wherever a field is not required. Of Lua's
patterns only `match` is looked at.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from decl.lua_pattern import to_regex

KongFields = Sequence[Mapping[str, Mapping[str, Any]]]
KongField = Mapping[str, Any]
JsonSchema = dict[str, Any]

_UUID = "^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$"


def record(fields: KongFields, old_names: KongFields = ()) -> JsonSchema:
    """The JSON Schema of a record. Raises ValueError naming the field for a type that Kong does not have.

    old_names: Kong's `shorthand_fields`, names that it still takes and moves to the new ones.
    """
    properties: JsonSchema = {}
    required = []
    for name, field in _each(old_names):
        try:
            properties[name] = _or_null(_field(field))
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error
    for name, field in _each(fields):
        try:
            schema = _field(field)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error
        needed = _is_required(field)
        properties[name] = schema if needed else _or_null(schema)
        if needed:
            required.append(name)
    result: JsonSchema = {"type": "object", "additionalProperties": False, "properties": properties}
    if required:
        result["required"] = sorted(required)
    return result


def defaults(fields: KongFields) -> dict[str, Any]:
    """The values that Kong gives to absent fields, records of defaults included."""
    result: dict[str, Any] = {}
    for name, field in _each(fields):
        if "default" in field:
            if field["default"] is not None:
                result[name] = field["default"]
        elif field.get("type") == "record" and field.get("required"):
            result[name] = defaults(field.get("fields", ()))
    return result


def _list_of(field: KongField, name: str) -> KongFields:
    """A list of fields; an empty one arrives from Kong as {}."""
    found = field.get(name)
    return found if isinstance(found, list) else ()


def _each(fields: KongFields) -> list[tuple[str, KongField]]:
    return [(name, field) for entry in fields for name, field in entry.items()]


def _is_required(field: KongField) -> bool:
    if not field.get("required") or "default" in field or field.get("auto"):
        return False
    if field.get("type") == "record":
        return any(_is_required(inner) for _, inner in _each(field.get("fields", ())))
    return True


def _or_null(schema: JsonSchema) -> JsonSchema:
    if "type" not in schema:
        return schema
    types = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    changed = {**schema, "type": [*types, "null"]}
    if "enum" in schema:
        changed["enum"] = [*schema["enum"], None]
    return changed


def _field(field: KongField) -> JsonSchema:
    convert = _TYPES.get(str(field.get("type")))
    if convert is None:
        raise ValueError(f"type {field.get('type')!r} is not a Kong type")
    schema = convert(field)
    if "one_of" in field:
        schema["enum"] = list(field["one_of"])
    if "between" in field:
        schema["minimum"], schema["maximum"] = field["between"]
    if "gt" in field:
        schema["exclusiveMinimum"] = field["gt"]
    if field.get("default") is not None:
        schema["default"] = field["default"]
    if "description" in field:
        schema["description"] = field["description"]
    return schema


def _text(field: KongField) -> JsonSchema:
    schema: JsonSchema = {"type": "string"}
    shortest = field.get("len_min", 1)  # Kong refuses an empty text unless len_min = 0 allows it
    if shortest and "one_of" not in field:
        schema["minLength"] = shortest
    if "len_max" in field:
        schema["maxLength"] = field["len_max"]
    if "starts_with" in field:
        schema["pattern"] = "^" + re.escape(field["starts_with"])
    elif field.get("uuid"):
        schema["pattern"] = _UUID
    elif isinstance(field.get("match"), str) and not field.get("referenceable"):
        pattern = to_regex(field["match"])
        if pattern is not None:
            schema["pattern"] = pattern
    return schema


def _list(field: KongField) -> JsonSchema:
    schema: JsonSchema = {"type": "array", "items": _field(field["elements"])}
    if "len_min" in field:
        schema["minItems"] = field["len_min"]
    if "len_max" in field:
        schema["maxItems"] = field["len_max"]
    return schema


def _map(field: KongField) -> JsonSchema:
    schema: JsonSchema = {"type": "object"}
    if "values" in field:
        schema["additionalProperties"] = _field(field["values"])
    keys = _field(field["keys"]) if "keys" in field else {}
    keys.pop("type", None)
    if keys:
        schema["propertyNames"] = keys
    return schema


_TYPES: dict[str, Callable[[KongField], JsonSchema]] = {
    "string": _text,
    "number": lambda _: {"type": "number"},
    "integer": lambda _: {"type": "integer"},
    "boolean": lambda _: {"type": "boolean"},
    "array": _list,
    "set": _list,
    "map": _map,
    "record": lambda field: record(_list_of(field, "fields"), _list_of(field, "shorthand_fields")),
    "json": lambda _: {},
    "any": lambda _: {},
}
