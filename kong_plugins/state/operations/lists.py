"""kgate list: named lists of users or addresses, which configs name; each replaced as a whole."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from kong_plugins.state.base import Store, StoreError
from kong_plugins.state.collections import COLLECTIONS
from kong_plugins.state.lists import LIST_KINDS, RowSet, check_set_name, list_row, set_of
from kong_plugins.state.operations import common, row_sets
from kong_plugins.state.operations.import_rows import Problems, read_rows
from kong_plugins.state.operations.row_sets import ImportReport, Progress


def import_list(
    store: Store,
    name: str,
    kind: str,
    lines: Iterable[str],
    *,
    actor: str,
    reason: str = "",
    ttl: float | None = None,
    if_version: int | None = None,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> ImportReport:
    """Make the lines (plain, or CSV with a column target, user or address) the list `name` of kind "users" or
    "addresses", in one step or not at all. Raises BadRows and what the package says."""
    check_set_name(name)
    if kind not in LIST_KINDS:
        raise ValueError(f"kind: {kind!r} is not {' or '.join(LIST_KINDS)}")
    common.check_notes(actor, reason)
    end = common.end(store, "lists", ttl)
    held = store.get("lists", name)
    if held is not None and held.data.get("kind") != kind:
        # configs that name it mean the other kind
        raise common.Refused(
            f"{name} is a list of {held.data.get('kind')}: remove it first (kgate list rm {name})"
        )
    problems = Problems()

    def parsed() -> Iterator[tuple[int, str, str]]:
        for row in read_rows(lines, store.now(), problems):
            try:
                yield row.line, list_row(kind, row.text), ""
            except ValueError as error:
                problems.add(row.line, str(error))

    rows, same = row_sets.collect(parsed(), problems, COLLECTIONS["lists"].rows, progress)
    made = RowSet(name, kind, 0, "", reason, actor, 0.0, 0.0, end, "cli")
    return row_sets.link(
        store,
        "list.import",
        "lists",
        rows,
        made,
        same=same,
        dry_run=dry_run,
        if_version=if_version,
        progress=progress,
    )


def show(store: Store, name: str) -> tuple[RowSet, Iterator[str]]:
    """A list and its entries as they were written (in no order). Raises NotFound."""
    held = common.with_rows(store, "lists", check_set_name(name))
    if held is None:
        raise common.NotFound(f"there is no list {name}; see kgate list show")
    record, rows = held
    try:
        found = set_of(record)
    except ValueError as error:
        raise StoreError(f"{store.address}: {error}") from error
    if found.kind == "users":
        return found, iter(rows)
    return found, (key.partition(" ")[2] for key in rows)


def remove(store: Store, name: str, *, actor: str, reason: str = "") -> RowSet:
    """Remove a list; configs that name it find nobody in it. Raises NotFound."""
    removed = row_sets.drop(store, "list.remove", "lists", check_set_name(name), actor=actor, reason=reason)
    if removed is None:
        raise common.NotFound(f"there is no list {name}; see kgate list show")
    return removed


def entries(store: Store) -> list[RowSet]:
    """The lists, by name. Raises StoreError."""
    return row_sets.sets(store, "lists")
