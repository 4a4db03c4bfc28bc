"""The configuration in force: entities by kind and id, with the look-ups that proxy and Admin API need."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
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

    def having(self, kind: str, entity: Entity) -> Store:
        """This store with an entity, in the place of the one with its id."""
        return self._with(kind, {**self.entities[kind], entity["id"]: entity})

    def without(self, kind: str, entity_id: str) -> Store:
        """This store without an entity."""
        return self._with(kind, {k: v for k, v in self.entities[kind].items() if k != entity_id})

    def _with(self, kind: str, items: dict[str, Entity]) -> Store:
        return replace(self, entities={**self.entities, kind: items})


def tagged(items: Iterable[Entity], tags: Iterable[str], every: bool) -> list[Entity]:
    """The entities that have all of the tags, or any."""
    wanted = list(tags)
    test = all if every else any
    return [e for e in items if test(tag in (e.get("tags") or ()) for tag in wanted)]
