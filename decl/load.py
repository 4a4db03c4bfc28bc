"""Load: text to one merged document of plain values, with the place of each.

Several files make one document: lists are joined in the order of the files, maps such as `clusters` by key.
Nothing here knows what the fields mean; wrong YAML is a finding, never an exception.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, NamedTuple

import yaml

from decl.construct import PLAIN_TAG, Constructor, TooLargeError
from decl.findings import Finding, Place, finding
from decl.overlay import overlay
from decl.raw_text import NotTextError, place_of, text_of
from decl.source import SourceFile, Sources, mark

try:
    from yaml import CBaseLoader as _BaseLoader
except ImportError:  # PyYAML without libyaml: the same result, ten times slower
    from yaml import BaseLoader as _BaseLoader  # type: ignore[assignment]


class Text(NamedTuple):
    """One file's name as it shall stand in findings, and its bytes. An overlay is merged over the others."""

    name: str
    content: bytes
    overlay: bool = False


class Loaded(NamedTuple):
    """The merged document, where its values stand, what was wrong. `complete` is False when a file could
    not be read as YAML: then nothing can be said of what is missing. `late`: it refers to secrets."""

    document: dict[str, Any]
    sources: Sources
    findings: tuple[Finding, ...]
    complete: bool
    late: bool = False


class _Loader(_BaseLoader):
    """Marks unquoted scalars and leaves their type to decl.scalars."""

    def descend_resolver(self, current_node: Any, current_index: Any) -> None:
        """Path resolvers are not used: composing need not ask for them at each node."""

    def ascend_resolver(self) -> None:
        """As above."""

    def resolve(self, kind: type, value: Any, implicit: Any) -> str:
        if kind is yaml.ScalarNode:
            return PLAIN_TAG if implicit[0] else "tag:yaml.org,2002:str"
        return "tag:yaml.org,2002:map" if kind is yaml.MappingNode else "tag:yaml.org,2002:seq"


def load(texts: Iterable[Text]) -> Loaded:
    """Load and merge the files."""
    merged: dict[str, Any] = {}
    files: list[SourceFile] = []
    findings: list[Finding] = []
    complete, late = True, False
    overlays: list[tuple[SourceFile, dict[str, Any]]] = []
    for text in texts:
        constructor = Constructor(text.name)
        read = _read(text, constructor, findings)
        late = late or constructor.late
        if read is None:
            complete = False
            continue
        root, values = read
        file = SourceFile(text.name, root)
        if text.overlay:
            overlays.append((file, values))
        else:
            files.append(_merge(merged, file, values, files, findings))
    parts = tuple(part for file, values in overlays for part in overlay(merged, values, file))
    return Loaded(merged, Sources(tuple(files), parts), tuple(findings), complete, late)


def _read(
    text: Text, constructor: Constructor, findings: list[Finding]
) -> tuple[yaml.Node, dict[str, Any]] | None:
    """Root node and values of one file; None when it is not YAML or not a map."""
    place, message = Place(text.name, 1, 1), ""
    try:
        content = text_of(text.content)
        constructor.expressions = b"${{" in text.content
        root = _compose(content)
        if isinstance(root, yaml.MappingNode):
            values = constructor.build(root, keep_null=text.overlay)
            findings.extend(constructor.findings)
            return root, values
        place = place if root is None else mark(text.name, root)
        message = "expected a map with _format_version and entities"
    except yaml.MarkedYAMLError as error:
        place, message = _syntax(text.name, error)
    except RecursionError:
        message = "nested too deeply"
    except NotTextError as error:
        place, message = Place(text.name, error.line, error.col), str(error)
    except yaml.reader.ReaderError as error:
        # libyaml counts bytes, PyYAML characters
        place = Place(text.name, *place_of(content, content.find(chr(error.character))))
        message = f"character U+{error.character:04X} is not allowed in YAML"
    except (yaml.YAMLError, TooLargeError) as error:
        message = " ".join(str(error).split())
    findings.append(finding(place, "yaml-syntax", message))
    return None


def _compose(content: str) -> yaml.Node | None:
    loader = _Loader(content)
    try:
        node: yaml.Node | None = loader.get_single_node()
        return node
    finally:
        loader.dispose()


def _syntax(name: str, error: yaml.MarkedYAMLError) -> tuple[Place, str]:
    at = error.problem_mark or error.context_mark
    place = Place(name, at.line + 1, at.column + 1) if at is not None else Place(name, 1, 1)
    parts = [part for part in (error.problem, error.context) if part]
    return place, ", ".join(parts) or "not YAML"


def _merge(
    merged: dict[str, Any],
    file: SourceFile,
    values: dict[str, Any],
    before: list[SourceFile],
    findings: list[Finding],
) -> SourceFile:
    """Add one file's values to the document; gives the file with the offsets of its lists."""
    offsets: dict[str, int] = {}
    for key, value in values.items():
        known = merged.get(key)
        if isinstance(value, list):
            offsets[key] = len(known) if isinstance(known, list) else 0
            if known is None:
                merged[key] = list(value)
            elif isinstance(known, list):
                known.extend(value)
        elif known is None:
            merged[key] = dict(value) if isinstance(value, dict) else value
        elif isinstance(value, dict) and isinstance(known, dict):
            _merge_maps(key, known, file, value, before, findings)
        elif value != known and key == "_format_version":
            place = Sources((file,)).place((key,))
            findings.append(
                finding(place, "format-version", f"{value!r} here, {known!r} in {before[0].name}")
            )
    lengths = {key: len(values[key]) for key in offsets}
    return replace(file, offsets=offsets, lengths=lengths)


def _merge_maps(
    key: str,
    known: dict[str, Any],
    file: SourceFile,
    values: dict[str, Any],
    before: list[SourceFile],
    findings: list[Finding],
) -> None:
    for name, value in values.items():
        if name not in known:
            known[name] = value
        elif known[name] != value:
            first = Sources(tuple(before)).place((key, name), at_key=True)
            place = Sources((file,)).place((key, name), at_key=True)
            findings.append(finding(place, "duplicate-name", f"{key}: {name!r} is used twice, see {first}"))
