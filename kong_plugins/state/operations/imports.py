"""kgate block import and export: sets of blocks (`sources`), each replaced as a whole."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator

from kong_plugins.state.base import Block, Store
from kong_plugins.state.collections import COLLECTIONS
from kong_plugins.state.lists import RowSet, check_set_name
from kong_plugins.state.operations import common, row_sets
from kong_plugins.state.operations.allowed import Allowed
from kong_plugins.state.operations.import_rows import Problems, read_rows
from kong_plugins.state.operations.row_sets import ImportReport, Progress
from kong_plugins.state.targets import block_key, dump_row, parse_target, target_text


def import_blocks(
    store: Store,
    name: str,
    lines: Iterable[str],
    *,
    actor: str,
    reason: str = "",
    ttl: float | None = None,
    if_version: int | None = None,
    dry_run: bool = False,
    over_allows: bool = False,
    progress: Progress | None = None,
) -> ImportReport:
    """Make the lines (plain or CSV, `import_rows`) the blocks of the set `name`, in one step or not at all.

    progress is called with rows read, then with rows sent. over_allows: what touches an allow is taken too, and
    counts once the allow has gone. Raises BadRows for lines that cannot be taken (bad targets, times that are over,
    what touches an allow), and what the package says.
    """
    check_set_name(name)
    common.check_notes(actor, reason)
    end = common.end(store, "sources", ttl)
    problems, allowed = Problems(), Allowed.of(store)

    def parsed() -> Iterator[tuple[int, str, str]]:
        for row in read_rows(lines, store.now(), problems):
            try:
                kind, value = parse_target(row.text)
            except ValueError as error:
                problems.add(row.line, str(error))
                continue
            allow = None if over_allows else allowed.touching(kind, value)
            if allow is not None:
                problems.add(row.line, f"{row.text} touches the allow {target_text(allow.kind, allow.value)}")
                continue
            yield row.line, block_key(kind, value), dump_row(row.reason, row.expires)

    rows, same = row_sets.collect(parsed(), problems, COLLECTIONS["sources"].rows, progress)
    made = RowSet(name, "blocks", 0, "", reason, actor, 0.0, 0.0, end, f"import:{name}")
    return row_sets.link(
        store,
        "block.import",
        "sources",
        rows,
        made,
        same=same,
        dry_run=dry_run,
        if_version=if_version,
        progress=progress,
    )


def remove(store: Store, name: str, *, actor: str, reason: str = "") -> RowSet:
    """Lift all blocks of an imported set. Raises NotFound."""
    removed = row_sets.drop(
        store, "block.unimport", "sources", check_set_name(name), actor=actor, reason=reason
    )
    if removed is None:
        raise common.NotFound(f"there is no imported set {name}; see kgate block list")
    return removed


def sources(store: Store) -> list[RowSet]:
    """The imported sets, by name. Raises StoreError."""
    return row_sets.sets(store, "sources")


def export_lines(blocks: Iterable[Block]) -> Iterator[str]:
    """The blocks (`operations.blocks.entries`) as CSV lines that `import_blocks` reads."""
    yield "target,reason,expires,actor,created,source"
    for block in blocks:
        line = io.StringIO()
        csv.writer(line, lineterminator="").writerow(
            [
                target_text(block.kind, block.value),
                block.reason,
                "" if block.expires is None else repr(block.expires),
                block.actor,
                repr(block.created),
                block.source,
            ]
        )
        yield line.getvalue()
