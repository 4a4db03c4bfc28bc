"""A diff as lines for people, as Markdown for a pull request, and as JSON. Secrets never stand in a diff."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from decl.change import Change, Diff, FieldChange
from decl.compare import Seen
from decl.kinds import KINDS
from decl.late import MASK
from decl.plan import shown
from decl.render import Rendered
from decl.source import Sources

VERSION = 1
COMMENT = 60_000
"""Characters of a Markdown report, about: GitHub takes comments of 65,536."""
_VALUE = 500
_SIGNS = {"create": "+", "update": "~", "delete": "-"}
_SIDES = {"file": "the file changed", "live": "the live Kong changed", "both": "both sides changed"}


def human(cluster: str, seen: Seen, rendered: Rendered, sources: Sources) -> Iterator[str]:
    """One line an entity and one a changed field."""
    for nodes, found in seen.diffs:
        if found.changes or found.conflicts:
            yield f"{', '.join(nodes)}:"
        for change in found.changes:
            where = place(change, found, rendered, sources)
            side = f"  [{_SIDES[change.moved]}]" if change.moved else ""
            yield f"  {_SIGNS[change.action]} {_what(change)}{f'  {where}' if where else ''}{side}"
            if change.action == "update":
                for field in change.fields:
                    yield f"      {field.path}: {_value(field, field.old)} -> {_value(field, field.new)}"
        for conflict in found.conflicts:
            yield f"  ! {conflict}"
    for node, reason in seen.away.items():
        yield f"{node}: {reason}"
    yield summary(cluster, seen)


def summary(cluster: str, seen: Seen) -> str:
    """One line: how many changes there are."""
    worst = [found for _, found in seen.diffs if found.changes or found.conflicts]
    if not worst:
        if seen.diffs and seen.client is None and not seen.away:
            return f"cluster {cluster}: no changes (the same entities, from other bytes than ours)"
        if seen.away and not seen.base:
            return f"cluster {cluster}: no node could be asked"
        return f"cluster {cluster}: no changes{' on the others' if seen.away else ''}"
    counts = [
        f"{max(found.count(action) for found in worst)} to {action}"
        for action in ("create", "update", "delete")
    ]
    return f"cluster {cluster}: {', '.join(counts)}"


def markdown(cluster: str, seen: Seen, rendered: Rendered, sources: Sources) -> Iterator[str]:
    """For a comment in a pull request: a table of the entities, the fields folded away. What would make it longer
    than GitHub takes is counted and not shown."""
    table, folded = _Room(COMMENT // 2), _Room(COMMENT // 2)
    yield f"### kgate diff: cluster `{cluster}`"
    yield ""
    if not seen.changes and not seen.away:
        yield "No changes: the live config is what the files say."
        return
    yield summary(cluster, seen).partition(": ")[2]
    for node, reason in seen.away.items():
        yield f"\n> **{node}** {_cell(reason)}"
    for nodes, found in seen.diffs:
        if not found.changes and not found.conflicts:
            continue
        yield ""
        yield f"On {', '.join(f'`{node}`' for node in nodes)}:"
        for conflict in found.conflicts:
            yield f"\n> **refused:** {_cell(conflict)}"
        yield ""
        yield "| | entity | fields | moved | source |"
        yield "|---|---|---|---|---|"
        for change in found.changes:
            fields = ", ".join(f"`{_cell(field.path)}`" for field in change.fields[:6])
            more = f" and {len(change.fields) - 6} more" if len(change.fields) > 6 else ""
            shown_fields = fields + more if change.action == "update" else ""
            where = place(change, found, rendered, sources)
            row = (
                f"| {change.action} | {KINDS[change.kind].singular} `{_cell(change.name)}` | {shown_fields} "
                f"| {change.moved} | {f'`{where}`' if where else ''} |"
            )
            if table.takes(row):
                yield row
        if more_rows := table.left_out():
            yield f"| | and {more_rows} more: see `kgate diff` | | | |"
        updates = [change for change in found.changes if change.action == "update"]
        if updates:
            yield ""
            yield "<details><summary>changed fields</summary>"
            yield ""
            yield "```diff"
            for change in updates:
                lines = [f"# {_line(_what(change))}"]
                for field in change.fields:
                    lines.append(f"- {field.path}: {_code(_value(field, field.old))}")
                    lines.append(f"+ {field.path}: {_code(_value(field, field.new))}")
                if folded.takes("\n".join(lines)):
                    yield from lines
            if more_updates := folded.left_out():
                yield f"# and {more_updates} more"
            yield "```"
            yield ""
            yield "</details>"


class _Room:
    """Counts what no longer fits."""

    def __init__(self, size: int) -> None:
        self._size, self._left = size, 0

    def takes(self, text: str) -> bool:
        """Whether it still fits; after the first that does not nothing does."""
        self._size = self._size - len(text) - 1 if self._size >= 0 else -1
        self._left += self._size < 0
        return self._size >= 0

    def left_out(self) -> int:
        """How many did not fit since this was asked last."""
        found, self._left = self._left, 0
        return found


def as_json(cluster: str, mode: str, seen: Seen, rendered: Rendered, sources: Sources) -> dict[str, Any]:
    """{"version", "cluster", "mode", "changes": bool, "nodes": [{nodes, create, update, delete, changes}], ...}"""
    return {
        "version": VERSION,
        "cluster": cluster,
        "mode": mode,
        "changes": seen.changes,
        "base": dict(seen.base),
        "away": dict(seen.away),
        "nodes": [
            {
                "nodes": list(nodes),
                **{action: found.count(action) for action in ("create", "update", "delete")},
                "conflicts": list(found.conflicts),
                "changes": [
                    {**shown(change), "source": place(change, found, rendered, sources) or None}
                    for change in found.changes
                ],
            }
            for nodes, found in seen.diffs
        ],
    }


def place(change: Change, found: Diff, rendered: Rendered, sources: Sources) -> str:
    """Where the files say it, "" where they do not."""
    if change.action == "delete":
        return ""  # its id may be that of another API key by now
    file_ids = [file_id for file_id, live_id in found.ids.items() if live_id == change.id] or [change.id]
    path = rendered.origins.get(file_ids[0])
    return str(sources.place(path)) if path else ""


def _what(change: Change) -> str:
    return f"{KINDS[change.kind].singular} {_line(change.name)}"


def _value(field: FieldChange, value: Any) -> str:
    if field.secret:
        return MASK
    return "(none)" if value is None else json.dumps(value, ensure_ascii=False)


def _line(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text)


def _code(text: str) -> str:
    text = _line(text).replace("```", "'''")  # it would end the block
    return text if len(text) <= _VALUE else f"{text[:_VALUE]}... ({len(text)} characters)"


def _cell(text: str) -> str:
    return _line(text).replace("|", "\\|").replace("`", "'")
