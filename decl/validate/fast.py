"""A JSON Schema as one function that says yes or no.

jsonschema explains well but takes tens of microseconds a field; ten thousand right entities should not pay
for explanations. Only what says no here is given to jsonschema. The subset of 2020-12 is what our schemas
use; another keyword is refused when compiling, and a test holds both against each other.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

Check = Callable[[Any], bool]

_ANNOTATIONS = frozenset(("$schema", "$defs", "title", "description", "default"))


def _is_integer(value: Any) -> bool:
    return (value.__class__ is int) or (value.__class__ is float and value.is_integer())


_TYPES: dict[str, Check] = {
    "string": lambda value: isinstance(value, str),
    "integer": _is_integer,
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "boolean": lambda value: isinstance(value, bool),
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "null": lambda value: value is None,
}


class Compiler:
    """Compiles the schemas of one root; `$ref` names a definition of that root."""

    def __init__(self, root: Mapping[str, Any]) -> None:
        self._root = root
        self._definitions: dict[str, Check] = {}

    def compile(self, schema: Mapping[str, Any] | bool) -> Check:
        """The check of a schema. Raises ValueError for a keyword that is not supported."""
        if isinstance(schema, bool):
            return lambda _: schema
        checks: list[Check] = []
        for keyword, argument in schema.items():
            if keyword == "$ref":
                checks.append(self._definition(argument))
            elif keyword in _SIMPLE:
                checks.append(_SIMPLE[keyword](argument))
            elif keyword in ("items", "propertyNames", "anyOf", "properties", "additionalProperties"):
                continue
            elif keyword not in _ANNOTATIONS:
                raise ValueError(f"keyword {keyword!r} is not supported")
        if "items" in schema:
            checks.append(self._items(schema["items"]))
        if "propertyNames" in schema:
            checks.append(self._names(schema["propertyNames"]))
        if "anyOf" in schema:
            checks.append(self._any_of(schema["anyOf"]))
        if "properties" in schema or "additionalProperties" in schema:
            checks.append(self._object(schema))
        return _all(checks)

    def _definition(self, pointer: str) -> Check:
        if pointer not in self._definitions:
            prefix, _, name = pointer.rpartition("/")
            if prefix != "#/$defs":
                raise ValueError(f"$ref {pointer!r} is not supported")
            self._definitions[pointer] = self.compile(self._root["$defs"][name])
        return self._definitions[pointer]

    def _items(self, schema: Any) -> Check:
        item = self.compile(schema)
        return lambda value: not isinstance(value, list) or all(map(item, value))

    def _names(self, schema: Any) -> Check:
        name = self.compile(schema)
        return lambda value: not isinstance(value, dict) or all(map(name, value))

    def _any_of(self, schemas: list[Any]) -> Check:
        options = [self.compile(schema) for schema in schemas]
        return lambda value: any(option(value) for option in options)

    def _object(self, schema: Mapping[str, Any]) -> Check:
        known = {name: self.compile(part) for name, part in schema.get("properties", {}).items()}
        other = self.compile(schema.get("additionalProperties", True))

        def check(value: Any) -> bool:
            if not isinstance(value, dict):
                return True
            get = known.get
            return all(get(name, other)(item) for name, item in value.items())

        return check


def _all(checks: list[Check]) -> Check:
    if len(checks) == 1:
        return checks[0]
    if len(checks) == 2:
        one, two = checks
        return lambda value: one(value) and two(value)
    return lambda value: all(check(value) for check in checks)


def _type(names: str | list[str]) -> Check:
    if isinstance(names, str):
        return _TYPES[names]
    options = [_TYPES[name] for name in names]
    return lambda value: any(option(value) for option in options)


def _enum(values: list[Any]) -> Check:
    allowed = {(isinstance(value, bool), value) for value in values}

    def check(value: Any) -> bool:
        return not isinstance(value, dict | list) and (isinstance(value, bool), value) in allowed

    return check


def _pattern(pattern: str) -> Check:
    search = re.compile(pattern).search
    return lambda value: not isinstance(value, str) or search(value) is not None


def _required(names: list[str]) -> Check:
    needed = frozenset(names)
    return lambda value: not isinstance(value, dict) or needed <= value.keys()


def _size(
    kind: type[str] | type[list[Any]] | type[dict[str, Any]], test: Callable[[int, int], bool]
) -> Callable[[int], Check]:
    return lambda limit: lambda value: not isinstance(value, kind) or test(len(value), limit)


def _number(test: Callable[[float, float], bool]) -> Callable[[float], Check]:
    return lambda limit: (
        lambda value: isinstance(value, bool) or not isinstance(value, int | float) or test(value, limit)
    )


_SIMPLE: dict[str, Callable[[Any], Check]] = {
    "type": _type,
    "enum": _enum,
    "const": lambda value: _enum([value]),
    "pattern": _pattern,
    "required": _required,
    "minLength": _size(str, lambda size, limit: size >= limit),
    "maxLength": _size(str, lambda size, limit: size <= limit),
    "minItems": _size(list, lambda size, limit: size >= limit),
    "maxItems": _size(list, lambda size, limit: size <= limit),
    "minProperties": _size(dict, lambda size, limit: size >= limit),
    "minimum": _number(lambda value, limit: value >= limit),
    "maximum": _number(lambda value, limit: value <= limit),
    "exclusiveMinimum": _number(lambda value, limit: value > limit),
}
