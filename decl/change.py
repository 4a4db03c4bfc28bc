"""Changes: what a diff found, entity by entity and field by field."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from decl.flatten import Entity

Action = Literal["create", "update", "delete"]
Side = Literal["file", "live", "both", ""]

KEEP_TAG = "kgate-keep"
"""A live entity with this tag is never deleted."""
LOCK_NAME = "kgate-lock"
"""The upstream that holds the lock of a cluster in DB mode: no part of anybody's config."""


class FieldChange(NamedTuple):
    """One field, dotted; old and new are None where there is none. A secret's values are not here."""

    path: str
    old: Any
    new: Any
    secret: bool = False


@dataclass(frozen=True, slots=True)
class Change:
    """One entity that changes. body is what is sent, before what the server held (None: not there).

    moved says which side differs from the last applied config, "" when there was none.
    """

    action: Action
    kind: str
    id: str
    name: str
    body: Entity | None = field(default=None, repr=False)
    before: Entity | None = field(default=None, repr=False)
    fields: tuple[FieldChange, ...] = ()
    moved: Side = ""


@dataclass(frozen=True, slots=True)
class Diff:
    """All changes, parents first; `conflicts` say what forbids to apply them."""

    changes: tuple[Change, ...] = ()
    conflicts: tuple[str, ...] = ()
    unchanged: int = 0
    live_count: int = 0
    ids: Mapping[str, str] = field(default_factory=dict)
    """The file's id -> the live one, where an entity was adopted by its name."""

    def count(self, action: Action) -> int:
        """How many entities are created, updated or deleted."""
        return sum(change.action == action for change in self.changes)
