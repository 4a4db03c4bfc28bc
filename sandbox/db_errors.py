"""Kong's error answers of the Admin API, by their code (kong/db/errors.lua)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sandbox.declarative import Reply
from sandbox.error_shape import lua_literal, lua_pretty

NOT_FOUND = {"message": "Not found"}


def schema_violation(errors: Mapping[str, Any]) -> Reply:
    """400: the fields and what is wrong with each."""
    found = list(errors.get("@entity", ()))
    for field in sorted(key for key in errors if key != "@entity"):
        error = errors[field]
        pairs = error.items() if isinstance(error, Mapping) else enumerate(error, 1)
        if isinstance(error, str):
            found.append(f"{field}: {error}")
            continue
        found += [
            f"{field}.{key}: {value if isinstance(value, str) else lua_pretty(value)}"
            for key, value in sorted(pairs, key=lambda pair: str(pair[0]))
            if value is not None
        ]
    count = "schema violation" if len(found) == 1 else f"{len(found)} schema violations"
    return _reply(400, 2, "schema violation", f"{count} ({'; '.join(found)})", errors)


def primary_key(entity_id: str) -> Reply:
    """400: the id is taken."""
    key = {"id": entity_id}
    return _reply(400, 3, "primary key violation", f"primary key violation on key '{lua_literal(key)}'", key)


def no_such_parent(field: str, reference: Mapping[str, Any], kind: str) -> Reply:
    """400: a reference by id to nothing."""
    message = f"the foreign key '{lua_literal(reference)}' does not reference an existing '{kind}' entity."
    return _reply(400, 4, "foreign key violation", message, {field: reference})


def still_referenced(kind: str, by: str) -> Reply:
    """400: others need the entity that shall go."""
    message = f"an existing '{by}' entity references this '{kind}' entity"
    return _reply(400, 4, "foreign key violation", message, {"@referenced_by": by})


def not_unique(key: Mapping[str, Any]) -> Reply:
    """409: another entity has these values."""
    message = f"UNIQUE violation detected on '{lua_literal(key)}'"
    return _reply(409, 5, "unique constraint violation", message, key)


def missing(key: Mapping[str, Any]) -> Reply:
    """404 of a PATCH."""
    message = f"could not find the entity with primary key '{lua_literal(key)}'"
    return _reply(404, 6, "not found", message, key)


def bad_offset(offset: str, why: str) -> Reply:
    """400: an offset that no answer gave."""
    message = f"'{offset}' is not a valid offset: {why}"
    return Reply(400, {"code": 7, "name": "invalid offset", "message": message})


def bad_size(message: str) -> Reply:
    """400: a page size out of its range."""
    return Reply(400, {"code": 9, "name": "invalid size", "message": message})


def bad_key(by: str, message: str) -> Reply:
    """400: what stands in the URL cannot be a name."""
    return Reply(400, {"code": 10, "name": f"invalid unique {by}", "message": message})


def bad_tags(why: str) -> Reply:
    """400: a tags filter that means nothing."""
    message = f"invalid option (tags: {why})"
    return Reply(400, {"code": 11, "name": "invalid options", "message": message, "options": {"tags": why}})


def unsupported(verb: str, kind: str, by: str) -> Reply:
    """405: writes without a database."""
    message = f"cannot {verb} '{kind}' entities{by} when not using a database"
    return Reply(405, {"code": 12, "name": "operation unsupported", "message": message})


def unresolved(field: str, key: str, value: Any, kind: str) -> Reply:
    """400: a reference by name to nothing."""
    text = f"the foreign key cannot be resolved with '{lua_literal({key: value})}' for an existing '{kind}' entity"
    message = f"foreign key unresolved ({field}.{key}: {text})"
    return _reply(400, 13, "foreign keys unresolved", message, {field: {key: text}})


def _reply(status: int, code: int, name: str, message: str, fields: Mapping[str, Any]) -> Reply:
    return Reply(status, {"code": code, "name": name, "message": message, "fields": fields})
