"""From YAML nodes to plain values (dict, list, str, int, float, bool, None).

Null is the same as an absent field in Kong's entities, so null fields are left out; within a plugin's
`config` nulls stay, there they may mean something. Duplicate keys are findings that name both places;
anchors, aliases and `<<` merges work.
"""

from __future__ import annotations

import os.path
from typing import Any

import yaml

from decl.findings import Finding, finding
from decl.late import KINDS as LATE_KINDS
from decl.late import Late
from decl.raw_text import shown
from decl.scalars import plain
from decl.source import mark

PLAIN_TAG = "?"
"""The tag that the loader gives to unquoted scalars: their type is decided here."""

_TEXT_TAG = "tag:yaml.org,2002:str"
_KNOWN_TAGS = frozenset((PLAIN_TAG, _TEXT_TAG, "tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"))

LATE_TAGS = frozenset(f"!{kind}" for kind in LATE_KINDS)

MAX_NODES = 3_000_000
"""More values than that can only come from aliases of aliases: ten lines of YAML can hold billions."""


class Unquoted(str):
    """Text without quotes, which may be an expression: what that gives may be a number."""

    __slots__ = ()


class TooLargeError(ValueError):
    """The document expands to more than MAX_NODES values."""


class Constructor:
    """Builds the values of one file; what is wrong is in `findings` afterwards."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.findings: list[Finding] = []
        self.late = False
        self.expressions = False
        """Whether the text has `${{ }}`, hidden from YAML."""
        self._left = MAX_NODES
        self._open: set[int] = set()
        self._cache: dict[str, Any] = {}

    def build(self, node: yaml.Node, keep_null: bool = False) -> Any:
        """The value of a node. Raises TooLargeError."""
        if node.__class__ is yaml.ScalarNode:
            return self._scalar(node)
        self._left -= len(node.value) + 1
        if self._left < 0:
            raise TooLargeError(f"the document expands to more than {MAX_NODES:,} values")
        if node.tag not in _KNOWN_TAGS:
            self._unknown_tag(node)
        key = id(node)
        if key in self._open:
            self.findings.append(finding(mark(self.file, node), "yaml-syntax", "an alias contains itself"))
            return None
        self._open.add(key)
        try:
            if isinstance(node, yaml.SequenceNode):
                return [self.build(child, keep_null) for child in node.value]
            return self._mapping(node, keep_null)
        finally:
            self._open.discard(key)

    def _scalar(self, node: yaml.Node) -> Any:
        if node.tag != PLAIN_TAG:
            if node.tag in LATE_TAGS:
                return self._late(node)
            if node.tag != _TEXT_TAG:
                self._unknown_tag(node)
            return shown(node.value) if self.expressions else node.value
        text = node.value
        try:
            return self._cache[text]
        except KeyError:
            value = plain(text)
            if self.expressions and value.__class__ is str:
                value = Unquoted(shown(text))
            self._cache[text] = value
            return value

    def _late(self, node: yaml.Node) -> Any:
        self.late = True
        if not node.value.strip():
            message = f"{node.tag} needs a name: {node.tag} NAME"
            self.findings.append(finding(mark(self.file, node), "late-value", message))
        return Late(node.tag[1:], node.value.strip(), os.path.dirname(self.file))

    def _mapping(self, node: yaml.Node, keep_null: bool) -> dict[str, Any]:
        result: dict[str, Any] = {}
        seen: dict[str, yaml.Node] = {}
        merges: list[yaml.Node] = []
        for key_node, child in node.value:
            if key_node.__class__ is not yaml.ScalarNode:
                place = mark(self.file, key_node)
                self.findings.append(finding(place, "yaml-syntax", "a field's name must be text"))
                continue
            key = shown(key_node.value) if self.expressions else key_node.value
            if key in seen:
                self._duplicate(key, seen[key], key_node)
                continue
            seen[key] = key_node
            if key == "<<" and key_node.tag == PLAIN_TAG:
                merges.append(child)
                continue
            value = self.build(child, keep_null or key == "config")
            if value is not None or keep_null:
                result[key] = value
        for child in merges:
            self._merge(child, result, seen, keep_null)
        return result

    def _merge(
        self, node: yaml.Node, into: dict[str, Any], own: dict[str, yaml.Node], keep_null: bool
    ) -> None:
        for source in node.value if isinstance(node, yaml.SequenceNode) else [node]:
            value = self.build(source, keep_null)
            if not isinstance(value, dict):
                self.findings.append(
                    finding(mark(self.file, source), "yaml-syntax", "<< needs a map to merge")
                )
                continue
            for key, item in value.items():
                if key not in own:
                    into.setdefault(key, item)

    def _duplicate(self, key: str, first: yaml.Node, again: yaml.Node) -> None:
        message = f"field {key!r} stands twice, see {mark(self.file, first)}"
        self.findings.append(finding(mark(self.file, again), "duplicate-key", message))

    def _unknown_tag(self, node: yaml.Node) -> None:
        message = f"tag {node.tag!r} is not known; write plain YAML, or !env NAME or !file PATH for a secret"
        self.findings.append(finding(mark(self.file, node), "yaml-syntax", message))
