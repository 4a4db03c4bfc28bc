"""Where each value of the merged document stands.

The composed YAML nodes are kept, and a path is looked up in them only when a finding needs it: that costs
nothing for the values that are right, which is nearly all of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import yaml

from decl.file_kinds import KINDS
from decl.findings import Finding, Path, Place, Problem, finding


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file: its name as given, its root node, and for each merged top-level list the index in the
    merged document at which this file's part starts."""

    name: str
    root: yaml.Node
    offsets: Mapping[str, int] = field(default_factory=dict)
    lengths: Mapping[str, int] = field(default_factory=dict)


class Part(NamedTuple):
    """Where an overlay changed the document: `prefix` of the document is at `local` of the file. `whole`: it
    was added as it is, with its children; else the children have parts of their own."""

    prefix: Path
    file: SourceFile
    local: Path
    whole: bool = False


@dataclass(frozen=True, slots=True)
class Sources:
    """All files of one document; the parts are those of overlays, the later ones over the earlier."""

    files: tuple[SourceFile, ...]
    parts: tuple[Part, ...] = ()

    def place(self, path: Path, at_key: bool = False) -> Place:
        """Where `path` stands; what is not there (a missing field) is placed at what should hold it."""
        best: tuple[int, Place] | None = None
        for file in self.files:
            local = _local(file, path)
            if local is None:
                continue
            depth, place = _walk(file, local, at_key)
            if best is None or depth > best[0]:
                best = depth, place
        for part in self.parts:
            rest = path[len(part.prefix) :]
            if path[: len(part.prefix)] != part.prefix or (rest and rest[0] in KINDS and not part.whole):
                continue
            depth, place = _walk(part.file, (*part.local, *rest), at_key)
            depth += len(part.prefix) - len(part.local)
            if best is None or depth >= best[0]:
                best = depth, place
        if best is not None:
            return best[1]
        return Place(self.files[0].name if self.files else "<no file>", 1, 1)

    def node(self, path: Path, at_key: bool = False) -> yaml.Node | None:
        """The YAML node of a value, or of its name with `at_key`; None for what no file has."""
        found = self.span(path, at_key)
        return None if found is None else found[1]

    def span(self, path: Path, at_key: bool = False) -> tuple[SourceFile, yaml.Node] | None:
        """The file and the YAML node of a value, for whoever wants to change it."""
        tries = [
            (part.file, part.local, path[len(part.prefix) :])
            for part in reversed(self.parts)
            if path[: len(part.prefix)] == part.prefix
        ]
        locals_ = [(file, local) for file in self.files if (local := _local(file, path)) is not None]
        for file, steps in [*((file, (*local, *rest)) for file, local, rest in tries), *locals_]:
            node = _find(file.root, steps, at_key)
            if node is not None:
                return file, node
        return None

    def locate(self, problem: Problem) -> Finding:
        """The finding of a problem."""
        place = self.place(problem.path, problem.at_key)
        first = f", see {self.place(problem.first)}" if problem.first is not None else ""
        return finding(place, problem.rule, problem.message + first, problem.level)


def mark(name: str, node: yaml.Node) -> Place:
    """The place of a node."""
    return Place(name, node.start_mark.line + 1, node.start_mark.column + 1)


def _local(file: SourceFile, path: Path) -> Path | None:
    """The path within one file, None when it belongs to another file's part of a list."""
    if len(path) < 2 or not isinstance(path[1], int):
        return path
    top = str(path[0])
    index = path[1] - file.offsets.get(top, 0)
    return (top, index, *path[2:]) if 0 <= index < file.lengths.get(top, 0) else None


def _walk(file: SourceFile, path: Path, at_key: bool) -> tuple[int, Place]:
    """How many steps of the path exist in the file, and the place of the last one."""
    node, key_node, depth = file.root, None, 0
    for step in path:
        found = _child(node, step)
        if found is None:
            return depth, mark(file.name, node)
        key_node, node = found
        depth += 1
    return depth, mark(file.name, key_node if at_key and key_node is not None else node)


def _find(node: yaml.Node, path: Path, at_key: bool) -> yaml.Node | None:
    key_node: yaml.Node | None = None
    for step in path:
        found = _child(node, step)
        if found is None:
            return None
        key_node, node = found
    return key_node if at_key else node


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
