"""All entities of a document with their places, whatever else is wrong with it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from decl.file_kinds import CHILDREN, SINGULAR
from decl.findings import Path


class Entity(NamedTuple):
    """One entity: its kind as Kong names the list, its place, its own values and the entity it is in."""

    kind: str
    path: Path
    values: Mapping[str, Any]
    parent: Entity | None

    def text(self, field: str) -> str | None:
        """The value of a field when it is text: what is wrong is the schema's business."""
        value = self.values.get(field)
        return value if isinstance(value, str) else None

    @property
    def label(self) -> str:
        """How messages name it: `route 'checkout'`."""
        name = self.text("name") or self.text("username") or self.text("target") or self.text("prefix")
        singular = SINGULAR[self.kind]
        return f"{singular} {name!r}" if name else f"a {singular} without a name"


def walk(document: Mapping[str, Any]) -> Iterator[Entity]:
    """The entities in the order of the document, parents before children."""
    return _children("", (), document, None)


def _children(kind: str, path: Path, values: Mapping[str, Any], parent: Entity | None) -> Iterator[Entity]:
    for child_kind in CHILDREN.get(kind, ()):
        items = values.get(child_kind)
        if not isinstance(items, list):
            continue
        for index, item in enumerate(items):
            if isinstance(item, dict):
                entity = Entity(child_kind, (*path, child_kind, index), item, parent)
                yield entity
                if child_kind in CHILDREN:
                    yield from _children(child_kind, entity.path, item, entity)


def reference(value: Any) -> str | None:
    """The name or id that a foreign key names: Kong takes text and {id}, the Admin API {name} as well."""
    if isinstance(value, dict):
        value = value.get("id", value.get("name"))
    return value if isinstance(value, str) else None
