"""The order that keeps routes protected while a Kong with a database changes under traffic.

Kong follows each write on its own: its router and its list of plugins are rebuilt apart from one another. So the
adapter (default deny) comes first and is seen to be live before anything else is written; with it a route that
has the tag of a protected one answers 503 until its passport is there too. What protects goes last.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from decl.adapter import NAMES
from decl.change import Change
from decl.graph import references, unique_keys
from decl.kinds import KINDS
from decl.render import PROTECTED_TAG


class Stage(NamedTuple):
    """Changes that may be made in any order that the graph allows, after those of the stage before."""

    name: str
    changes: tuple[Change, ...]
    after_adapter: bool = False
    """The adapter must be seen live before this stage."""


def stages(changes: Sequence[Change]) -> list[Stage]:
    """The changes in their stages; empty stages are left out."""
    adapter: list[Change] = []
    main: list[Change] = []
    removals: list[Change] = []
    unprotected: list[Change] = []
    last: list[Change] = []
    in_the_way = _holders(changes)
    for change in changes:
        if is_adapter(change):
            (last if change.action == "delete" else adapter).append(change)
        elif change.action == "delete":
            (main if (change.kind, change.id) in in_the_way else removals).append(change)
        elif _is_protected(change.before) and not _is_protected(change.body):
            unprotected.append(change)
        else:
            main.append(change)
    guarded = any(_is_protected(change.body) for change in main if change.kind == "routes")
    made = [
        Stage("adapter", tuple(adapter)),
        Stage("entities", tuple(main), after_adapter=guarded or bool(adapter)),
        Stage("removals", tuple(removals)),
        Stage("default deny", tuple(unprotected)),
        Stage("adapter removal", tuple(last)),
    ]
    return [stage for stage in made if stage.changes]


def is_adapter(change: Change) -> bool:
    """Whether a change is one of the adapter's own two global plugins."""
    entity = change.body or change.before or {}
    return (
        change.kind == "plugins"
        and entity.get("name") in NAMES
        and not any(entity.get(field) for field in KINDS["plugins"].refs)
    )


def _is_protected(entity: dict[str, object] | None) -> bool:
    tags = (entity or {}).get("tags")
    return isinstance(tags, list) and PROTECTED_TAG in tags


def _holders(changes: Sequence[Change]) -> set[tuple[str, str]]:
    """What is deleted and has a name (a key ...) that another one takes, with all that goes with it: it cannot
    wait."""
    taken = {
        (change.kind, key)
        for change in changes
        if change.body is not None
        for key in unique_keys(change.kind, change.body)
    }
    deleted = [change for change in changes if change.action == "delete"]
    found = {
        (change.kind, change.id)
        for change in deleted
        if any((change.kind, key) in taken for key in unique_keys(change.kind, change.before))
    }
    while found:
        below = {
            (change.kind, change.id)
            for change in deleted
            if any(parent in found for parent in references(change.kind, change.before))
        }
        if below <= found:
            break
        found |= below
    return found
