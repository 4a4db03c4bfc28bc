"""The configuration in force: entities by kind and id, with the look-ups that proxy and Admin API need."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from sandbox.entities import FIELDS, UNIQUE

Entity = dict[str, Any]
EMPTY_HASH = "0" * 32


@dataclass(frozen=True)
class Store:
    """Immutable once built: a new configuration is a new store."""

    entities: dict[str, dict[str, Entity]] = field(default_factory=lambda: {kind: {} for kind in FIELDS})
    hash: str = EMPTY_HASH

    def all(self, kind: str) -> list[Entity]:
        """All entities of a kind, by id as Kong lists them."""
        return [self.entities[kind][key] for key in sorted(self.entities[kind])]

    def find(self, kind: str, name_or_id: str) -> Entity | None:
        """One entity by its id or its name."""
        found = self.entities[kind].get(name_or_id)
        if found is not None:
            return found
        by = UNIQUE.get(kind)
        return next((e for e in self.entities[kind].values() if by and e.get(by) == name_or_id), None)

    def children(self, kind: str, key: str, parent_id: str) -> list[Entity]:
        """Entities of a kind whose foreign key names this parent."""
        return [e for e in self.all(kind) if (e.get(key) or {}).get("id") == parent_id]

    def tagged(self, items: Iterable[Entity], tags: str) -> list[Entity]:
        """`a,b` wants all of the tags, `a/b` any of them."""
        wanted = tags.replace("/", ",").split(",")
        test = any if "/" in tags else all
        return [e for e in items if test(tag in (e.get("tags") or ()) for tag in wanted)]
