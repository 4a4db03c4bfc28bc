"""Declarative configuration -> entities with ids and defaults, or Kong's errors."""

from __future__ import annotations

import copy
import json
import time
from typing import Any

from decl.kong import entities as entity_checks
from sandbox import entity_values, fields, plugin_checks
from sandbox.entities import CHILDREN, FIELDS, UNIQUE, foreign_fields
from sandbox.error_shape import lua_literal
from sandbox.ids import generated_id, is_random, is_uuid
from sandbox.store import Entity

VERSIONS = ("1.1", "2.1", "3.0")
PluginSchemas = plugin_checks.PluginSchemas
_META = {
    "_transform": (bool, "expected a boolean"),
    "_comment": (str, "expected a string"),
    "_ignore": (list, "expected an array"),
}


class InvalidConfig(Exception):
    """Kong's answer 400: the tree of errors, and the configuration that has them."""

    def __init__(self, errors: dict[str, Any], config: dict[str, Any]) -> None:
        super().__init__(f"declarative config is invalid: {lua_literal(errors)}")
        self.errors, self.config = errors, config


class KongError(Exception):
    """Kong itself trips over this configuration: it answers 500."""


def parse(config: Any, schemas: PluginSchemas) -> dict[str, dict[str, Entity]]:
    """The entities of a declarative configuration.

    schemas: for each enabled plugin, the `fields` of its schema. Raises InvalidConfig, KongError.
    """
    return _Parser(config if isinstance(config, dict) else {}, schemas).run()


class _Parser:
    def __init__(self, config: dict[str, Any], schemas: PluginSchemas) -> None:
        self.config = config
        self.schemas = schemas
        self.errors: dict[str, Any] = {}
        self.late: list[list[Any]] = []  # plugins that may not stand where they are nested
        self.now = int(time.time())
        # (kind, entity, raw, where its error goes): references are settled when all are read
        self.found: list[tuple[str, Entity, dict[str, Any], list[Any]]] = []

    def run(self) -> dict[str, dict[str, Entity]]:
        self._version()
        for key, value in self.config.items():
            if key in _META:
                kind, message = _META[key]
                if value is not None and not isinstance(value, kind):
                    self.errors[key] = message
            elif key == "_format_version":
                continue
            elif key not in FIELDS:
                self.errors[key] = "unknown field"
            elif value is None:
                continue
            elif not isinstance(value, list):
                self.errors[key] = "expected an array"
            else:
                self._items(key, value, None, [key])
        if self.errors:
            for at in self.late:  # Kong looks at these only when something else is wrong
                self._fail(at[:-1], {at[-1]: "value must be null"})
            raise InvalidConfig(self.errors, self.config)
        entities = self._settle()
        if self.errors:
            raise InvalidConfig(self.errors, self._with_ids())
        return entities

    def _with_ids(self) -> dict[str, Any]:
        """The configuration with the ids that follow from names."""
        copies: dict[int, Any] = {}
        config = copy.deepcopy(self.config, copies)
        for kind, entity, raw, _ in self.found:
            if not is_random(kind, raw):
                copies[id(raw)].setdefault("id", entity["id"])
        return config

    def _version(self) -> None:
        version = self.config.get("_format_version")
        if version is None:
            message = "required field missing"
        elif not isinstance(version, str):
            message = "expected a string"
        elif version not in VERSIONS:
            message = "expected one of: " + ", ".join(VERSIONS)
        else:
            return
        self.errors["_format_version"] = message

    def _items(
        self, kind: str, items: list[Any], parent: tuple[str, Entity] | None, where: list[Any]
    ) -> None:
        for i, raw in enumerate(items):
            at = [*where, i]
            if raw == []:
                raw = items[i] = {}  # an empty table is both
            if not isinstance(raw, dict):
                raise KongError
            self._item(kind, raw, parent, at)

    def _item(self, kind: str, raw: dict[str, Any], parent: tuple[str, Entity] | None, at: list[Any]) -> None:
        nested = CHILDREN.get(kind, {})
        mine = {*nested, *(name for name, _ in fields.each(FIELDS[kind]))}  # a route has `snis` of its own
        if any(key in FIELDS and key not in mine and value for key, value in raw.items()):
            raise KongError
        own = {k: v for k, v in raw.items() if k not in nested}
        if kind == "services":
            entity_values.url_shorthand(own)
        if kind == "upstreams":
            entity_values.hash_shorthand(own)
        if kind == "routes":
            entity_values.route_defaults(own)
        again = own.pop(parent[0], None) if parent is not None else None
        entity, errors = fields.record(self._fields_without_parent(kind, parent), own)
        errors |= _bad_references(kind, entity, parent)
        if kind == "plugins":
            plugin_checks.check(entity, errors, self.schemas)
        protocols = entity_checks.route_protocols(entity) if kind == "routes" else None
        if protocols:
            errors = {"protocols": protocols}
        else:
            entity_checks.check(kind, entity, errors)
        if parent is not None and again is not None and (kind != "plugins" or list(errors) != ["name"]):
            errors[parent[0]] = "value must be null"
        if not errors:
            errors = entity_values.pem_error(kind, entity)
        if errors:
            self._fail(at, errors)
        if parent is not None:
            if kind == "plugins" and not plugin_checks.may_stand(entity, parent[0], self.schemas):
                self.late.append([*at, parent[0]])
            entity[parent[0]] = {"id": parent[1]["id"]}
        entity = self._complete(kind, entity, own, parent)
        self.found.append((kind, entity, raw, at))
        for key, (child, foreign) in nested.items():
            value = raw.get(key)
            if isinstance(value, list):
                self._items(child, value, (foreign, entity), [*at, key])
            elif value is not None:
                self._fail([*at, key], "expected an array")

    @staticmethod
    def _fields_without_parent(kind: str, parent: tuple[str, Entity] | None) -> list[dict[str, Any]]:
        return [f for f in FIELDS[kind] if parent is None or parent[0] not in f]

    def _complete(self, kind: str, entity: Entity, own: Any, parent: tuple[str, Entity] | None) -> Entity:
        entity["created_at"] = entity.get("created_at") or self.now
        if "updated_at" in entity:
            entity["updated_at"] = entity["updated_at"] or self.now
        if entity.get("ttl", "") is None:
            del entity["ttl"]  # no field of its own: it is there when it is set
        if not entity.get("id"):
            entity["id"] = generated_id(kind, own, (parent[0], parent[1]["id"]) if parent else None)
        return entity

    def _settle(self) -> dict[str, dict[str, Entity]]:
        out: dict[str, dict[str, Entity]] = {kind: {} for kind in FIELDS}
        names: dict[tuple[str, str], str] = {}
        for kind, entity, _, _ in self.found:
            if entity.get("id"):
                by = UNIQUE.get(kind)
                if by and entity.get(by):
                    names.setdefault((kind, entity[by]), entity["id"])
        ids = {(kind, entity["id"]) for kind, entity, _, _ in self.found if entity.get("id")}
        for kind, entity, _, at in self.found:
            for key, field in fields.each(FIELDS[kind]):
                if field.get("type") == "foreign" and entity.get(key) is not None:
                    self._reference(kind, entity, key, field["reference"], names, ids)
            entity_values.settle(kind, entity)
            self._unique(kind, entity, at, out)
            out[kind][entity["id"]] = entity
        return out

    def _reference(self, kind: str, entity: Entity, key: str, to: str, names: Any, ids: Any) -> None:
        value = entity[key]
        wanted = value["id"] if isinstance(value, dict) else value
        found = wanted if (to, wanted) in ids else names.get((to, wanted)) if isinstance(value, str) else None
        if found:
            entity[key] = {"id": found}
            return
        shown = value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
        name = entity.get("name") or entity.get("id") or "?"
        message = f"invalid reference '{key}: {shown}' (no such entry in '{to}')"
        if kind == "plugins":
            raise KongError
        # Kong leaves these out of the flattened form: neither in `flattened_errors` nor in `fields`
        self.errors.setdefault(kind, {})
        if isinstance(self.errors[kind], dict):
            self.errors[kind].setdefault(name, []).append(message)

    def _unique(self, kind: str, entity: Entity, at: list[Any], out: Any) -> None:
        by = UNIQUE.get(kind)
        violation = f"uniqueness violation: '{kind}' entity"
        if by and entity.get(by) and any(e.get(by) == entity[by] for e in out[kind].values()):
            message = f"{violation} with {by} set to '{entity[by]}' already declared"
            # Kong forgets where a nested one stood: it names the position in its own list only
            self._fail([kind, at[-1]], message)
        elif entity["id"] in out[kind]:
            message = f"{violation} with primary key set to '{entity['id']}' already declared"
            self._fail(at[-4:], message)

    def _fail(self, at: list[Any], error: Any) -> None:
        """Puts an error where the bad value stood; keys and positions lead there."""
        node: Any = self.errors
        for i, step in enumerate(at):
            last = i == len(at) - 1
            if isinstance(step, int):
                while len(node) <= step:
                    node.append(None)
                if last:
                    node[step] = (
                        {**node[step], **error}
                        if isinstance(node[step], dict) and isinstance(error, dict)
                        else error
                    )
                    return
                if not isinstance(node[step], dict):
                    node[step] = {}
                node = node[step]
            elif last:
                node[step] = error
                return
            else:
                if not isinstance(node.get(step), list):
                    node[step] = []
                node = node[step]


def _bad_references(
    kind: str, entity: Entity, parent: tuple[str, Entity] | None
) -> dict[str, dict[str, str]]:
    """What is wrong with references that are records: they must have an id."""
    found = {}
    for field, schema in foreign_fields(kind).items():
        value = entity.get(field)
        if not isinstance(value, dict) or (parent is not None and parent[0] == field):
            continue
        if schema["reference"] == "routes" and not is_uuid(value.get("id")):
            found[field] = {"protocols": fields.MISSING}  # Kong looks at it as if it were a route
        elif "id" not in value:
            found[field] = {"id": "missing primary key"}
        elif not is_uuid(value["id"]):
            found[field] = {"id": "expected a valid UUID"}
    return found
