"""Uniqueness: what Kong allows once only, by the unique keys of its schemas."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator

from decl.build import made_name
from decl.file_kinds import KINDS, SINGULAR
from decl.findings import Path, Problem
from decl.kong.values import full_target
from decl.secret_fields import is_secret
from decl.walk import Entity, reference

RULE = "duplicate-name"

_PARENTS = dict(KINDS["plugins"].parents)


def check_uniqueness(entities: Iterable[Entity]) -> Iterator[Problem]:
    """Names, ids and keys that are used twice; a plugin that stands twice in one scope."""
    seen: dict[Hashable, Path] = {}
    for entity in entities:
        own = ("id",) if entity.kind not in ("tenants", "issuers") else ()
        for field in (*KINDS[entity.kind].unique, *own):
            value = entity.text(field)
            if value is not None:
                shown = "is" if is_secret(entity.kind, field) else f"{value!r} is"
                message = f"{SINGULAR[entity.kind]} {field} {shown} used twice"
                yield from _once(seen, (entity.kind, field, value), (*entity.path, field), message)
        if entity.kind == "plugins":
            yield from _plugin(seen, entity)
        elif entity.kind == "routes" and "name" not in entity.values:
            service = entity.parent.text("name") if entity.parent else None
            key = ("unnamed route", service, made_name(entity.values, None))
            message = "two routes without a name want the same requests; give them names"
            yield from _once(seen, key, entity.path, message)
        elif entity.kind == "acls":
            consumer = entity.parent.text("username") if entity.parent else None
            consumer = consumer or reference(entity.values.get("consumer"))
            group = entity.text("group")
            if group is not None and consumer is not None:
                message = f"consumer {consumer!r} is twice in group {group!r}"
                yield from _once(seen, ("acls", consumer, group), (*entity.path, "group"), message)
        elif entity.kind == "targets":
            upstream = entity.parent.text("name") if entity.parent else None
            upstream = upstream or reference(entity.values.get("upstream"))
            target = entity.text("target")
            if target is not None and upstream is not None:
                message = f"target {target!r} stands twice in upstream {upstream!r}"
                key = ("target", upstream, full_target(target))
                yield from _once(seen, key, (*entity.path, "target"), message)


def _plugin(seen: dict[Hashable, Path], entity: Entity) -> Iterator[Problem]:
    name = entity.text("name")
    if name is None:
        return
    scope = {field: reference(entity.values.get(field)) for field in ("service", "route", "consumer")}
    parent = entity.parent
    if parent is not None and parent.kind == "tenants":
        scope["tenant"] = parent.text("name")
    elif parent is not None:
        own = parent.text("name") or parent.text("username") or str(parent.path)
        scope[_PARENTS[parent.kind]] = own
    where = ", ".join(f"{field} {value!r}" for field, value in scope.items() if value) or "all requests"
    key = ("plugin", name, *sorted((field, value or "") for field, value in scope.items()))
    yield from _once(seen, key, entity.path, f"plugin {name!r} stands twice for {where}")


def _once(seen: dict[Hashable, Path], key: Hashable, path: Path, message: str) -> Iterator[Problem]:
    first = seen.setdefault(key, path)
    if first is not path:
        yield Problem(path, RULE, message, first=first)
