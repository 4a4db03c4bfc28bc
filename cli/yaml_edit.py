"""Small edits of YAML text by the places of its nodes: comments, order and quotes of the rest stay as they are."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import NamedTuple

import yaml


class Span(NamedTuple):
    """Characters start to end of a text, to be replaced by `text`."""

    start: int
    end: int
    text: str


def find_node(root: yaml.Node, path: tuple[str | int, ...]) -> yaml.Node | None:
    """The node at a path of keys and indexes, through merge keys (<<) too; None when it is not there."""
    node: yaml.Node = root
    for step in path:
        found: yaml.Node | None = None
        if isinstance(node, yaml.SequenceNode) and isinstance(step, int):
            found = node.value[step] if 0 <= step < len(node.value) else None
        elif isinstance(node, yaml.MappingNode):
            found = _value_of(node, step)
        if found is None:
            return None
        node = found
    return node


def _value_of(node: yaml.MappingNode, key: str | int) -> yaml.Node | None:
    merged: list[yaml.Node] = []
    for key_node, value in node.value:
        if key_node.value == key:
            own: yaml.Node = value
            return own
        if key_node.value == "<<":
            merged += value.value if isinstance(value, yaml.SequenceNode) else [value]
    return next((found for other in merged if (found := find_node(other, (key,))) is not None), None)


def set_key(text: str, node: yaml.MappingNode, key: str, value: str) -> Span:
    """The edit that gives `key` of the mapping this value (YAML in flow form, on one line)."""
    lines = _line_starts(text)
    for key_node, value_node in node.value:
        if key_node.value == key:
            end = _end(lines, value_node)
            return Span(_at(lines, key_node.end_mark), end, f": {value}")
    first = node.value[0][0]
    name = f'"{key}"' if first.style == '"' else key
    if node.flow_style:
        end = _end(lines, node.value[-1][1])
        return Span(end, end, f", {name}: {value}")
    start = _at(lines, first.start_mark)
    return Span(start, start, f"{name}: {value}\n{' ' * first.start_mark.column}")


def set_items(text: str, node: yaml.MappingNode, key: str, values: Sequence[str]) -> list[Span]:
    """The edits that make the list at `key` hold these texts. A list with an item a line keeps its items' lines and
    comments, and new items come after them; any other is written anew on one line."""
    found = next((value for key_node, value in node.value if key_node.value == key), None)
    flow = json.dumps(list(values), ensure_ascii=False)
    if not isinstance(found, yaml.SequenceNode) or found.flow_style:
        return [set_key(text, node, key, flow)]
    lines = _line_starts(text)
    kept = [item for item in found.value if item.value in values]
    if not kept or any(item.start_mark.line != item.end_mark.line for item in found.value):
        return [set_key(text, node, key, flow)]
    gone = [item.start_mark.line for item in found.value if item.value not in values]
    spans = [Span(lines[line], lines[line + 1], "") for line in gone]
    there = {item.value for item in kept}
    indent = " " * found.start_mark.column
    added = "".join(f"{indent}- {json.dumps(v, ensure_ascii=False)}\n" for v in values if v not in there)
    after = lines[kept[-1].start_mark.line + 1]
    newline = "" if text[:after].endswith("\n") else "\n"
    return [*spans, Span(after, after, newline + added)] if added else spans


def applied(text: str, spans: list[Span]) -> str:
    """The text with all edits; none may overlap."""
    # from the end; two insertions at one place keep their order
    for _, _, span in sorted(((s.start, s.end), n, s) for n, s in enumerate(spans))[::-1]:
        text = text[: span.start] + span.text + text[span.end :]
    return text


def _end(lines: list[int], node: yaml.Node) -> int:
    """Where the node's own text ends: a block's mark is behind the comments that follow it."""
    if isinstance(node, yaml.SequenceNode) and not node.flow_style and node.value:
        return _end(lines, node.value[-1])
    if isinstance(node, yaml.MappingNode) and not node.flow_style and node.value:
        return _end(lines, node.value[-1][1])
    return _at(lines, node.end_mark)


def _at(lines: list[int], mark: yaml.Mark) -> int:
    return lines[mark.line] + mark.column


def _line_starts(text: str) -> list[int]:
    starts = [0]
    for line in text.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    return starts
