"""Checks values against schemas of Kong's form: {"type": "record", "fields": [{name: {...}}, ...]}.

Errors have Kong's shape: text for a value, a mapping for a record, a list for an array (None where an item is
well); error texts are Kong's. Defaults are filled in.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Mapping
from typing import Any

Field = Mapping[str, Any]
Errors = Any
NULL_ONLY = object()  # `eq = ngx.null`
MISSING = "required field missing"
_TYPES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "string": (lambda v: isinstance(v, str), "expected a string"),
    "number": (lambda v: isinstance(v, int | float) and not isinstance(v, bool), "expected a number"),
    "integer": (
        lambda v: isinstance(v, int | float) and not isinstance(v, bool) and v == int(v),
        "expected an integer",
    ),
    "boolean": (lambda v: isinstance(v, bool), "expected a boolean"),
    "array": (lambda v: isinstance(v, list), "expected an array"),
    "set": (lambda v: isinstance(v, list), "expected a set"),
    "map": (lambda v: isinstance(v, dict | list), "expected a map"),
    "record": (lambda v: isinstance(v, dict), "expected a record"),
    "json": (lambda v: True, ""),
    "function": (lambda v: isinstance(v, str), "expected a function"),
    "foreign": (lambda v: isinstance(v, dict | str), "expected a foreign key"),
    "any": (lambda v: True, ""),
}


def each(fields: Any) -> list[tuple[str, Field]]:
    """(name, field) pairs of a record's `fields`."""
    return [(name, field) for entry in fields or () for name, field in entry.items()]


def record(fields: Any, value: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Errors]]:
    """A record with defaults, and the errors by field name (empty when it is well).

    An explicit null takes no default: it stays, or is an error where the field is required.
    """
    known = dict(each(fields))
    out: dict[str, Any] = {}
    errors: dict[str, Errors] = {name: "unknown field" for name in value if name not in known}
    for name, field in known.items():
        required = field.get("required") and not field.get("auto")
        if name in value and value[name] is None:
            out[name], error = None, MISSING if required else None
        else:
            out[name], error = one(field, value.get(name))
        if error is not None:
            errors[name] = error
    return out, errors


def one(field: Field, value: Any) -> tuple[Any, Errors]:
    """(value with defaults, error or None) for one field."""
    if value is None and field.get("eq") is not NULL_ONLY:
        value = default(field)
    if value is None:
        if field.get("required") and not field.get("auto"):
            return None, MISSING
        return None, None
    if field.get("eq") is NULL_ONLY:
        return value, field.get("err") or "value must be null"
    kind = field.get("type", "any")
    fits, message = _TYPES.get(kind, _TYPES["any"])
    if isinstance(value, dict) and not value and kind in ("array", "set"):
        value = []
    if not fits(value):
        return value, message
    error: Errors = None
    if kind in ("array", "set"):
        value, error = _elements(field, value)
    elif kind == "map":
        value, error = _map(field, value)
    elif kind == "record":
        value, error = _record(field, value)
    return (value, error) if error is not None else (value, _constraint(field, value))


def default(field: Field) -> Any:
    """A fresh copy of a field's default; a required record without one gets its fields' defaults."""
    if "default" in field:
        return _copy(field["default"])
    if field.get("type") == "record" and field.get("required"):
        return {}
    return None


def _copy(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _copy(v) for k, v in value.items()}
    return [_copy(v) for v in value] if isinstance(value, list) else value


def _elements(field: Field, value: list[Any]) -> tuple[list[Any], Errors]:
    element = field.get("elements")
    if not element:
        return value, None
    pairs = [(None, MISSING) if item is None else one(element, item) for item in value]
    items = [item for item, _ in pairs]
    if field.get("type") == "set":
        items = [item for i, item in enumerate(items) if item not in items[:i]]
    errors = [error for _, error in pairs]
    while errors and errors[-1] is None:
        errors.pop()
    return items, errors or None


def _map(field: Field, value: Any) -> tuple[Any, Errors]:
    if isinstance(value, list):  # Lua's tables: the keys of a list are numbers
        value = dict(enumerate(value, 1))
    out = {}
    for key, item in value.items():
        error = one(field["keys"], key)[1] if field.get("keys") else None
        if error is None and field.get("values"):
            item, error = (None, MISSING) if item is None else one(field["values"], item)
        if error is not None:
            return value, error  # Kong names neither the key nor what comes after the first error
        out[key] = item
    return out, None


def _record(field: Field, value: dict[str, Any]) -> tuple[dict[str, Any], Errors]:
    if field.get("abstract") or "fields" not in field:
        return value, None
    out, errors = record(field["fields"], value)
    errors |= entity_checks(field.get("entity_checks"), out)
    return out, errors or None


def entity_checks(checks: Any, value: Mapping[str, Any]) -> dict[str, Errors]:
    """The checks over several fields that plugin schemas use most."""
    problems = []
    for check in checks or ():
        for name, arg in check.items():
            if not isinstance(arg, list) or not all(isinstance(key, str) for key in arg):
                continue
            present = [key for key in arg if _at(value, key) is not None]
            quoted = ", ".join(f"'{key}'" for key in arg)
            if name == "at_least_one_of" and not present:
                problems.append(f"at least one of these fields must be non-empty: {quoted}")
            elif name == "only_one_of" and len(present) != 1:
                problems.append(f"exactly one of these fields must be non-empty: {quoted}")
            elif name == "mutually_required" and present and len(present) < len(arg):
                problems.append("all or none of these fields must be set: " + quoted)
            elif name == "mutually_exclusive" and len(present) > 1:
                problems.append(f"only one or none of these fields must be set: {quoted}")
    return {"@entity": problems} if problems else {}


def _at(value: Any, path: str) -> Any:
    for part in path.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return None if value in ([], {}) else value


def required_records(fields: Any) -> list[dict[str, Field]]:
    """A plugin's fields as Kong keeps them: a record is required, so that its fields' defaults are filled in, if it
    does not say `required = false` itself. Records in lists and maps are not: what is missing there stays null."""
    out = []
    for name, field in each(fields):
        if field.get("type") == "record" and "fields" in field:
            field = {"required": True, **field, "fields": required_records(field["fields"])}
        out.append({name: field})
    return out


def _constraint(field: Field, value: Any) -> str | None:
    if field.get("type") == "string" and "len_min" not in field:
        field = {**field, "len_min": 1}
    for name, check in _CONSTRAINTS.items():
        if name in field and field[name] is not None:
            message = check(field[name], value)
            if message:
                return field.get("err") or message
    return None


def _validator(validator: Any, value: Any) -> str | None:
    # wrapped where the schema was read
    return validator(value) if callable(validator) else None


def _subsets(subsets: Any, value: Any) -> str | None:
    """All values of a set belong to one of the subsets."""
    used = [subset for subset in subsets if set(subset) & set(value)]
    if len(used) < 2:
        return None
    sets = ", ".join("('" + "', '".join(subset) + "')" for subset in used)
    return f"these sets are mutually exclusive: {sets}"


def _uuid(wanted: Any, value: Any) -> str | None:
    try:
        uuid.UUID(value)
    except (ValueError, AttributeError):
        return "expected a valid UUID" if wanted else None
    return None


def _lua_pattern(pattern: str) -> str:
    """The simple Lua patterns that stand in schemas, as a regular expression."""
    classes = {
        "a": "A-Za-z",
        "d": "0-9",
        "w": "A-Za-z0-9",
        "s": r"\s",
        "x": "0-9A-Fa-f",
        "l": "a-z",
        "u": "A-Z",
    }
    out, i, inside = [], 0, False
    while i < len(pattern):
        char = pattern[i]
        if char == "%" and i + 1 < len(pattern):
            i += 1
            cls = classes.get(pattern[i])
            out.append((cls if inside else f"[{cls}]") if cls else re.escape(pattern[i]))
        else:
            inside = (inside or char == "[") and char != "]"
            out.append("*?" if char == "-" and not inside and out else char)
        i += 1
    return "".join(out)


_CONSTRAINTS: dict[str, Callable[[Any, Any], str | None]] = {  # in the order in which Kong looks
    "eq": lambda want, v: None if v == want else f"value must be {want}",
    "ne": lambda want, v: None if v != want else f"value must not be {want}",
    "not_one_of": lambda want, v: "must not be one of: " + ", ".join(map(str, want)) if v in want else None,
    "one_of": lambda want, v: None if v in want else "expected one of: " + ", ".join(map(str, want)),
    "gt": lambda want, v: None if v > want else f"value must be greater than {want}",
    "timestamp": lambda want, v: None if v > 0 else "expected a valid timestamp",
    "uuid": _uuid,
    "between": lambda want, v: (
        None if want[0] <= v <= want[1] else f"value should be between {want[0]} and {want[1]}"
    ),
    "len_eq": lambda want, v: None if len(v) == want else f"length must be {want}",
    "len_min": lambda want, v: None if len(v) >= want else f"length must be at least {want}",
    "len_max": lambda want, v: None if len(v) <= want else f"length must be at most {want}",
    "starts_with": lambda want, v: None if v.startswith(want) else f"should start with: {want}",
    "match_none": lambda want, v: next(
        (rule["err"] for rule in want if re.search(_lua_pattern(rule["pattern"]), v)), None
    ),
    "match": lambda want, v: None if re.search(_lua_pattern(want), v) else f"invalid value: {v}",
    "contains": lambda want, v: None if want in v else f"expected to contain: {want}",
    "custom_validator": _validator,
    "mutually_exclusive_subsets": lambda want, v: _subsets(want, v),
}
