"""Kong's data access in DB mode, in memory: insert, upsert, update, delete with its checks and errors.

Each write makes a new store; `store` is the one that the Admin API reads.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from typing import Any

from decl.kong import entities as entity_checks
from decl.kong.values import not_utf8
from sandbox import db_errors, entity_values, fields, plugin_checks
from sandbox.declarative import Reply
from sandbox.entities import FIELDS, KINDS, foreign_fields
from sandbox.ids import is_uuid
from sandbox.plugin_checks import PluginSchemas
from sandbox.store import Entity, Store

Body = Mapping[str, Any]


class Database:
    """The entities of one cluster. schemas: the `fields` of each enabled plugin's schema. Methods raise Reply."""

    def __init__(self, schemas: PluginSchemas) -> None:
        self.schemas = schemas
        self.store = Store()

    def insert(self, kind: str, body: Body) -> Entity:
        """POST: a new entity."""
        entity = self.complete(kind, body)
        if entity["id"] in self.store.entities[kind]:
            raise db_errors.primary_key(entity["id"])
        return self._put(kind, entity, body)

    def upsert(self, kind: str, key: str, body: Body) -> Entity:
        """PUT: a new entity, or one in the place of the old: fields that are not given get their defaults.

        key: an id, or a name. It wins over what the body says.
        """
        body = dict(body)
        if is_uuid(key):
            body["id"] = key
        else:
            by = KINDS[kind].key
            if by is None:
                raise Reply(404, db_errors.NOT_FOUND)
            check_key(kind, key)
            body[by] = key
            old = self.store.find(kind, key)
            if old is not None:
                body["id"] = old["id"]
        return self._put(kind, self.complete(kind, body), body)

    def update(self, kind: str, key: str, body: Body) -> Entity:
        """PATCH: records are merged, everything else is replaced; a null stays a null."""
        if not is_uuid(key):
            check_key(kind, key)
        old = self.store.find(kind, key)
        if old is None:
            by = "id" if is_uuid(key) else KINDS[kind].key or "id"
            raise db_errors.missing({by: key}) if by == "id" else Reply(404, _by_name(by, key))
        body = {**body}
        if kind == "services":
            entity_values.url_shorthand(body)
        if kind == "upstreams":
            entity_values.hash_shorthand(body)
        merged = _merge(FIELDS[kind], old, body)
        merged["id"] = old["id"]
        if kind == "plugins" and isinstance(body.get("config"), dict):
            merged["config"] = _deep(old.get("config") or {}, body["config"])
        entity = self.complete(kind, merged, whole=True)
        return self._put(kind, entity, body)

    def delete(self, kind: str, entity: Entity) -> None:
        """DELETE: what belongs to the entity goes with it, what needs it stops it."""
        for child, field, schema in _references(kind):
            children = self.store.children(child, field, entity["id"])
            if children and schema.get("on_delete") != "cascade":
                raise db_errors.still_referenced(kind, child)
        for child, field, _ in _references(kind):
            for each in self.store.children(child, field, entity["id"]):
                self.delete(child, each)
        self.store = self.store.without(kind, entity["id"])

    def complete(self, kind: str, body: Body, whole: bool = False, resolve: bool = True) -> Entity:
        """A checked entity with defaults and an id; references are not looked up but for names.

        whole: the body has been an entity before, shorthands are not for it. resolve: look up names.
        """
        body = dict(body)
        if not whole and (bad := entity_checks.shorthands(kind, body)):
            raise db_errors.schema_violation(bad)
        if kind == "services":
            entity_values.url_shorthand(body)
        if kind == "upstreams" and not whole:
            entity_values.hash_shorthand(body)
        if kind == "routes":
            entity_values.route_defaults(body)
        if kind == "certificates":
            body.pop("snis", None)
        errors: dict[str, Any] = {}
        for field, schema in foreign_fields(kind).items():
            self._resolve(field, schema["reference"], body, errors, resolve)
        if kind == "routes" and (unknown := entity_checks.route_protocols(body)):
            raise db_errors.schema_violation({"protocols": unknown})
        entity, found = fields.record(FIELDS[kind], body)
        errors = {**found, **errors}
        if kind == "plugins":
            plugin_checks.check(entity, errors, self.schemas)
        entity_checks.check(kind, entity, errors)
        if resolve and kind == "targets" and "Invalid target" in str(errors.get("target")):
            errors["target"] = "Invalid target; not a valid hostname or ip address"
        if not errors:
            errors = entity_values.pem_error(kind, entity)
        if errors:
            raise db_errors.schema_violation(errors)
        now = int(time.time())
        entity["id"] = entity.get("id") or str(uuid.uuid4())
        entity["created_at"] = entity.get("created_at") or now
        if "updated_at" in entity:
            entity["updated_at"] = now
        entity_values.settle(kind, entity)
        if kind == "upstreams" and (entity["algorithm"], entity["hash_on"]) == ("consistent-hashing", "none"):
            entity["algorithm"] = "round-robin"  # a DB-less node keeps it
        return entity

    def _resolve(
        self, field: str, kind: str, body: dict[str, Any], errors: dict[str, Any], names: bool
    ) -> None:
        value, by = body.get(field), KINDS[kind].key
        if value is None:
            return
        if not isinstance(value, dict | str | list):
            raise Reply(500, {"message": "An unexpected error occurred"})
        if names and isinstance(value, dict) and by and "id" not in value and by in value:
            found = self.store.find(kind, value[by]) if isinstance(value[by], str) else None
            if found is None:
                raise db_errors.unresolved(field, by, value[by], kind)
            body[field] = {"id": found["id"]}
        elif (
            kind == "routes"
            and not isinstance(value, str)
            and not is_uuid(value.get("id") if isinstance(value, dict) else None)
        ):
            errors[field] = {"protocols": fields.MISSING}  # Kong looks at it as if it were a route
        elif not isinstance(value, dict) or "id" not in value:
            errors[field] = {"id": "missing primary key"}
        elif not is_uuid(value["id"]):
            errors[field] = {"id": "expected a valid UUID"}
        else:
            body[field] = {"id": value["id"]}

    def _put(self, kind: str, entity: Entity, body: Body) -> Entity:
        if any(isinstance(value, str) and not_utf8(value) for value in entity.values()):
            raise Reply(500, {"message": "An unexpected error occurred"})  # PostgreSQL stores no such text
        for group in KINDS[kind].unique:
            self._unique(kind, entity, group)
        for field, schema in foreign_fields(kind).items():
            reference = entity.get(field)
            if reference and reference["id"] not in self.store.entities[schema["reference"]]:
                raise db_errors.no_such_parent(field, reference, schema["reference"])
        if kind == "basicauth_credentials" and "password" in body:
            entity_values.hash_password(entity)
        self.store = self.store.having(kind, entity)
        return entity

    def _unique(self, kind: str, entity: Entity, group: tuple[str, ...]) -> None:
        key = {field: entity.get(field) for field in group}
        if len(group) == 1 and key[group[0]] is None:
            return
        for other in self.store.entities[kind].values():
            if other["id"] != entity["id"] and all(other.get(f) == v for f, v in key.items()):
                raise db_errors.not_unique(key)


def check_key(kind: str, key: str) -> None:
    """Raises Reply when a text of a URL cannot be the name of such an entity."""
    by = KINDS[kind].key
    if by is None or is_uuid(key):
        return
    error = fields.one(dict(fields.each(FIELDS[kind]))[by], key)[1]
    if error is not None:
        raise db_errors.bad_key(by, str(error))


def _by_name(by: str, key: str) -> dict[str, Any]:
    message = f"could not find the entity with '{{{by}=\"{key}\"}}'"
    return {"code": 6, "name": "not found", "message": message, "fields": {by: key}}


def _references(kind: str) -> list[tuple[str, str, Mapping[str, Any]]]:
    return [
        (child, field, schema)
        for child in KINDS
        for field, schema in foreign_fields(child).items()
        if schema["reference"] == kind
    ]


def _merge(schema: Any, old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    kinds = dict(fields.each(schema))
    out = {**old}
    for name, value in new.items():
        field = kinds.get(name, {})
        both = isinstance(value, dict) and isinstance(old.get(name), dict)
        if both and field.get("type") == "record" and "fields" in field:
            out[name] = _merge(field["fields"], old[name], value)
        else:
            out[name] = value
    return out


def _deep(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    out = {**old}
    for name, value in new.items():
        both = isinstance(value, dict) and isinstance(old.get(name), dict)
        out[name] = _deep(old[name], value) if both else value
    return out
