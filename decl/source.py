"""Where each value of the merged document stands.

The composed YAML nodes are kept, and a path is looked up in them only when a finding needs it: that costs
nothing for the values that are right, which is nearly all of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from decl.findings import Finding, Path, Place, Problem, finding


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file: its name as given, its root node, and for each merged top-level list the index in the
    merged document at which this file's part starts."""

    name: str
    root: yaml.Node
    offsets: Mapping[str, int] = field(default_factory=dict)
    lengths: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Sources:
    """All files of one document."""

    files: tuple[SourceFile, ...]

    def place(self, path: Path, at_key: bool = False) -> Place:
        """Where `path` stands; what is not there (a missing field) is placed at what should hold it."""
        for file in self.files:
            local = _local(file, path)
            if local is not None:
                return _walk(file, local, at_key)
        name = self.files[0].name if self.files else "<no file>"
        return Place(name, 1, 1)

    def locate(self, problem: Problem) -> Finding:
        """The finding of a problem."""
        place = self.place(problem.path, problem.at_key)
        return finding(place, problem.rule, problem.message, problem.level)


def mark(name: str, node: yaml.Node) -> Place:
    """The place of a node."""
    return Place(name, node.start_mark.line + 1, node.start_mark.column + 1)


def _local(file: SourceFile, path: Path) -> Path | None:
    """The path within one file, None when it belongs to another."""
    if not path:
        return path
    top = str(path[0])
    if len(path) > 1 and isinstance(path[1], int) and top in file.offsets:
        index = path[1] - file.offsets[top]
        return (top, index, *path[2:]) if 0 <= index < file.lengths[top] else None
    found = _walk_to(file.root, path[:2])
    return path if found is not None else (path if _walk_to(file.root, path[:1]) is not None else None)


def _walk(file: SourceFile, path: Path, at_key: bool) -> Place:
    node, key_node = file.root, None
    for step in path:
        found = _child(node, step)
        if found is None:
            # a missing field: point at what should hold it
            return mark(file.name, node)
        key_node, node = found
    return mark(file.name, key_node if at_key and key_node is not None else node)


def _walk_to(node: yaml.Node, path: Path) -> yaml.Node | None:
    for step in path:
        found = _child(node, step)
        if found is None:
            return None
        node = found[1]
    return node


def _child(node: yaml.Node, step: str | int) -> tuple[yaml.Node | None, yaml.Node] | None:
    value: Any = node.value
    if isinstance(node, yaml.SequenceNode):
        return (None, value[step]) if isinstance(step, int) and step < len(value) else None
    if not isinstance(node, yaml.MappingNode):
        return None
    merged: list[yaml.Node] = []
    for key, child in value:
        if key.value == step:
            return key, child
        if key.value == "<<":
            merged += child.value if isinstance(child, yaml.SequenceNode) else [child]
    for other in merged:
        found = _child(other, step)
        if found is not None:
            return found
    return None
