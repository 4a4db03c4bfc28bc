"""Kong's errors about a pushed config, at their places in the files."""

from __future__ import annotations

from decl.findings import Finding, Problem
from decl.flattened import EntityError
from decl.render import Rendered
from decl.source import Sources


def locate(error: EntityError, rendered: Rendered, sources: Sources) -> Finding:
    """Kong's error at its place in the files, by the entity's id, else by its kind and name."""
    path = rendered.origins.get(error.entity_id or "")
    if path is None:
        path = rendered.origins.get(_id_by_name(error, rendered) or "", ())
    for step in error.field.split(".") if error.field else ():
        path = (*path, int(step) - 1 if step.isdigit() else step)
    where = f"{error.entity_type} {error.entity_name!r}: " if error.entity_name else f"{error.entity_type}: "
    field = f"{error.field}: " if error.field else ""
    return sources.locate(Problem(path, "kong", where + field + error.message))


def _id_by_name(error: EntityError, rendered: Rendered) -> str | None:
    """The first entity of that kind and name: Kong leaves out an id that it finds wrong."""
    stack: list[tuple[str, object]] = [("", rendered.document)]
    while stack:
        kind, value = stack.pop()
        if isinstance(value, dict):
            names = (value.get("name"), value.get("username"), value.get("target"))
            if kind == error.entity_type + "s" and error.entity_name in names and error.entity_name:
                return str(value.get("id"))
            stack += [(key, item) for key, item in value.items() if isinstance(item, list)]
        elif isinstance(value, list):
            stack += [(kind, item) for item in value if isinstance(item, dict)]
    return None
