"""Which entities a path of the Admin API names: /services/s, /services/s/routes/r, /routes/r/service ..."""

from __future__ import annotations

from typing import NamedTuple

from sandbox.entities import CHILDREN, KINDS, foreign_fields

_BY_PATH = {kind.path: name for name, kind in KINDS.items() if kind.path}


class Place(NamedTuple):
    """A collection (`key` is None) or one entity, maybe below another one.

    owner: (kind, key) of the entity before it. field: the reference between the two. up: the place is the
    owner's own parent (/routes/r/service), so that the owner holds the reference.
    """

    kind: str
    key: str | None = None
    owner: tuple[str, str] | None = None
    field: str = ""
    up: bool = False


def find(parts: list[str]) -> Place | None:
    """The place for a path's parts, None when there is none."""
    kind = _BY_PATH.get(parts[0])
    if kind is None:
        return None
    if len(parts) <= 2:
        return Place(kind, parts[1] if len(parts) == 2 else None)
    owner, name, rest = (kind, parts[1]), parts[2], parts[3:]
    for child, field in CHILDREN.get(kind, {}).values():
        if name == (KINDS[child].nested or KINDS[child].path) and len(rest) <= 1:
            return Place(child, rest[0] if rest else None, owner, field)
    for field, schema in foreign_fields(kind).items():
        if name == field and not rest:
            return Place(schema["reference"], None, owner, field, up=True)
    return None


_READ, _POST, _PUT = "GET, HEAD, OPTIONS", "OPTIONS, POST", "OPTIONS, PUT"


def only_method(parts: list[str]) -> str | None:
    """What may be done with a path that is no entity's; None when it is none of these."""
    match parts:
        case (
            ["endpoints"]
            | ["plugins", "enabled"]
            | ["status"]
            | ["tags"]
            | ["schemas", _]
            | ["schemas", "plugins", _]
        ):
            return _POST if parts[-1] == "validate" else _READ
        case ["clustering", "data-planes" | "status"] | ["upstreams", _, "health"]:
            return _READ
        case ["schemas", _, "validate"]:
            return _POST
        case ["upstreams", _, "targets", _, "healthy" | "unhealthy"]:
            return _PUT
    return None
