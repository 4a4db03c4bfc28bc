"""A server's own schemas: the defaults that it fills in, which lists are sets, and which fields are secret.

The schemas are what `GET /schemas/...` answers, in Kong's schema language (kong/db/schema/init.lua). Filling a
desired entity in by them gives what the server will hold, so that the two can be compared without false
differences whatever the server's version.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from decl import secret_fields

Field = Mapping[str, Any]
Fields = Mapping[str, Field]

_TIMES = ("created_at", "updated_at", "ws_id")

TOLD_ONLY: Mapping[str, tuple[str, ...]] = {"certificates": ("snis",), "ca_certificates": ("cert_digest",)}
"""What a server tells of an entity and keeps elsewhere: the names of a certificate are entities of their own. (A
route's `snis` are the route's.)"""


class Schemas:
    """The schemas of one server, asked for when first needed.

    get: the body of GET /schemas/NAME for `services` or `plugins/cors`; None when the server has none.
    """

    def __init__(self, get: Callable[[str], Mapping[str, Any] | None]) -> None:
        self._get = get
        self._kinds: dict[str, Fields | None] = {}

    def fields(self, kind: str, entity: Mapping[str, Any]) -> Fields | None:
        """The fields of an entity: by its kind, for a plugin by its name too. None: the server has no schema."""
        if kind == "vaults":
            return None  # their config depends on the vault, and there is no schema of it to read
        key = f"{kind}/{entity.get('name')}" if kind == "plugins" else kind
        if key not in self._kinds:
            found = self._get(key)
            own = None if found is None else compiled(found["fields"])
            if own is not None and kind == "plugins":
                base = self._get("plugins")
                own = {**(compiled(base["fields"]) if base else {}), **own}
            self._kinds[key] = own
        return self._kinds[key]

    def filled(self, kind: str, entity: Mapping[str, Any]) -> dict[str, Any]:
        """The entity as the server will hold it: defaults filled in, old names of fields moved to the new."""
        fields = self.fields(kind, entity)
        if fields is None:
            return dict(entity)
        held = _record(fields, entity, {})
        if kind == "routes" and entity.get("strip_path") is None and _is_grpc(entity.get("protocols")):
            held["strip_path"] = False  # a default of its own (kong/db/schema/entities/routes_subschemas.lua)
        return held

    def sendable(self, kind: str, held: Mapping[str, Any]) -> dict[str, Any]:
        """What a server told of an entity, in a form that it takes back: without old names of fields, nulls
        and times."""
        fields = self.fields(kind, held) or {}
        found = _bare(held, {"fields": fields})
        left_out = (*_TIMES, *TOLD_ONLY.get(kind, ()))
        return {name: value for name, value in found.items() if name not in left_out}

    def is_secret(self, kind: str, entity: Mapping[str, Any], path: Sequence[str]) -> bool:
        """Whether the value at a path of the entity must not be shown."""
        names = [step for step in path if not step.isdigit()]
        if any(secret_fields.is_secret(kind, name) for name in names):
            return True
        fields = self.fields(kind, entity) or {}
        for name in names:
            field = fields.get(name, {})
            if field.get("encrypted"):
                return True
            fields = field.get("fields") or (field.get("elements") or {}).get("fields") or {}
        return False


def _is_grpc(protocols: Any) -> bool:
    return isinstance(protocols, list) and bool(protocols) and protocols[0] in ("grpc", "grpcs")


def compiled(fields: Any) -> dict[str, Field]:
    """Kong's lists of one-key maps as tables, at every depth. An empty list arrives as {}."""
    if not isinstance(fields, list):
        return {}
    return {name: _compiled(field) for entry in fields for name, field in entry.items()}


def _compiled(field: Field) -> Field:
    out = dict(field)
    if out.get("encrypted") and isinstance(out.get("default"), str):
        # a secret that the node draws when it starts (session.secret): another one with each start
        del out["default"]
        out["auto"] = True
    for name in ("fields", "shorthand_fields"):
        if name in out:
            out[name] = compiled(out[name])
    for name in ("elements", "values"):
        if isinstance(out.get(name), Mapping):
            out[name] = _compiled(out[name])
    return out


def _record(fields: Fields, values: Mapping[str, Any], shorthands: Fields) -> dict[str, Any]:
    out = {name: value for name, value in values.items() if value is not None and name not in _TIMES}
    for name, field in shorthands.items():
        if name in out:
            _move(out, name, field)
    for name, field in fields.items():
        value = out.get(name)
        if value is None:
            value = field.get("default")
            if value is None and field.get("type") == "record" and field.get("required"):
                value = {}
            if value is None:
                continue
        out[name] = _filled(field, value)
    return out


def _filled(field: Field, value: Any) -> Any:
    kind = field.get("type")
    if kind == "record" and isinstance(value, Mapping):
        return _record(field.get("fields") or {}, value, field.get("shorthand_fields") or {})
    if kind in ("array", "set") and isinstance(value, list):
        element = field.get("elements") or {}
        return [_filled(element, item) for item in value] if "type" in element else value
    if kind == "map" and isinstance(value, Mapping):
        inner = field.get("values") or {}
        return {key: _filled(inner, item) for key, item in value.items()}
    return value


def _bare(value: Any, field: Field) -> Any:
    if isinstance(value, Mapping):
        table = field.get("fields") or {}
        inner = field.get("values") or {}
        old_names = field.get("shorthand_fields") or {}
        return {
            name: _bare(item, table.get(name) or inner)
            for name, item in value.items()
            if item is not None and name not in old_names
        }
    if isinstance(value, list):
        return [_bare(item, field.get("elements") or {}) for item in value]
    return value


_UNTOLD = {
    "cookie_lifetime": "rolling_timeout",
    "cookie_idletime": "idling_timeout",
    "cookie_discard": "stale_ttl",
    "cookie_samesite": "cookie_same_site",
    "cookie_httponly": "cookie_http_only",
    "cookie_persistent": "remember",
    "endpoint": "traces_endpoint",
}
"""New names that a node does not tell: they are code in kong/plugins/{session,opentelemetry}/schema.lua."""


def _move(out: dict[str, Any], name: str, field: Field) -> None:
    """A field's old name (`redis_host`): the server keeps the value under the new one and shows both."""
    if name in _UNTOLD and not (field.get("deprecation") or {}).get("replaced_with"):
        new_name, value = _UNTOLD[name], out.pop(name)
        if new_name not in out or not field.get("deprecation"):
            # Kong prefers the new name only where it calls the old one deprecated
            out[new_name] = "Lax" if name == "cookie_samesite" and value == "off" else value
        return
    for new in (field.get("deprecation") or {}).get("replaced_with") or ():
        path = new.get("path") or ()
        where = out
        for step in path[:-1]:
            inner = where.get(step)
            where[step] = dict(inner) if isinstance(inner, Mapping) else {}
            where = where[step]
        if path and path[-1] not in where:
            where[path[-1]] = out[name]
    del out[name]


def same(wanted: Any, held: Any, field: Field) -> bool:
    """Whether a wanted value (filled in) and the server's are the same: sets have no order, and an empty list
    or map is nothing."""
    if wanted == held or (wanted is None and field.get("auto")):
        return True
    if wanted in (None, [], {}) and held in (None, [], {}):
        return True
    if isinstance(wanted, int | float) and isinstance(held, int | float):
        # Kong keeps and tells 14 digits of a number in a config (lua-cjson)
        if isinstance(wanted, bool) or isinstance(held, bool):
            return False
        return f"{wanted:.14g}" == f"{held:.14g}"
    kind = field.get("type")
    if isinstance(wanted, list) and isinstance(held, list):
        element = field.get("elements") or {}
        if kind == "set":
            return _distinct(wanted, element) == _distinct(held, element)
        if len(wanted) != len(held):
            return False
        return all(same(a, b, element) for a, b in zip(wanted, held, strict=True))
    if isinstance(wanted, Mapping) and isinstance(held, Mapping):
        table = field.get("fields") or {}
        inner = field.get("values") or {}
        old_names = field.get("shorthand_fields") or {}
        return all(
            same(wanted.get(name), held.get(name), table.get(name) or inner)
            for name in {*wanted, *held}
            if name not in old_names or name in wanted
        )
    return False


def is_surely(wanted: Mapping[str, Any], held: Mapping[str, Any], fields: Fields) -> bool:
    """Whether the server's entity is what it makes of the wanted one, by one look at each field.

    False means that nobody knows yet: `filled` and `same` tell. Nearly all entities of a live Kong are unchanged,
    and this is several times as fast.
    """
    if not wanted.keys() <= held.keys():
        return False
    for name, value in held.items():
        mine = wanted.get(name)
        if mine == value or name in _TIMES:
            continue
        field = fields.get(name)
        if field is None:
            return False
        if mine is None:
            if field.get("auto"):
                continue
            default = field.get("default")
            if value == default:
                continue
            if default is None and isinstance(value, dict) and field.get("type") == "record":
                mine = {}
            else:
                return False
        if isinstance(mine, dict) and isinstance(value, dict) and field.get("type") == "record":
            if is_surely(mine, value, field.get("fields") or {}):
                continue
            return False
        if not same(mine, value, field):
            return False
    return True


def _distinct(values: list[Any], element: Field) -> set[str]:
    """A server tells what a map of a set leaves out as null."""
    return {json.dumps(_bare(value, element), sort_keys=True) for value in values}
