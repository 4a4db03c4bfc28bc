"""`kgate lint --fix`: other text for single values, with all else in the files left as it is."""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

import yaml

from cli.errors import FailedError
from decl.construct import PLAIN_TAG
from decl.lint.hit import Fix
from decl.project import Project
from decl.raw_text import shown, text_of

_PROPERTIES = re.compile(r"(?:(?:[&!]\S*|#.*)\s+)*")
"""What stands before a scalar's own text in its node: an anchor, a tag (YAML 1.2.2, section 6.9), comments."""


def apply_fixes(project: Project) -> Iterator[str]:
    """Write the repairs of a project's findings; yields a line for each. Raises FailedError.

    A value that several places share (an anchor) is written once, where it stands. What stands in a block, or comes
    from the environment, is left to people.
    """
    edits: dict[str, dict[tuple[int, int], str]] = {}
    texts: dict[str, str] = {}
    for finding, fix in project.fixes:
        found = project.sources.span(fix.path, fix.at_key)
        if found is None or not isinstance(found[1], yaml.ScalarNode):
            continue
        file, node = found[0], found[1]
        assert isinstance(node, yaml.ScalarNode)
        if not _can_be_rewritten(node) or file.name not in project.texts:
            continue
        text = texts.setdefault(file.name, text_of(project.texts[file.name]))
        before = _PROPERTIES.match(text, node.start_mark.index, node.end_mark.index)
        span = (before.end() if before else node.start_mark.index, node.end_mark.index)
        if span not in edits.setdefault(file.name, {}):
            edits[file.name][span] = _written(fix, node)
            yield f"{finding.file}:{finding.line}:{finding.col}: fixed {finding.rule}"
    for name, changes in edits.items():
        _write(name, project.texts[name], changes)


def _can_be_rewritten(node: yaml.ScalarNode) -> bool:
    """Not a block (`|`, `>`), whose end is the next line's beginning, nor what the environment gives: its value must
    not come into the file."""
    return node.style not in ("|", ">") and "${{" not in shown(node.value)


def _written(fix: Fix, node: yaml.ScalarNode) -> str:
    if fix.style == "quoted" or node.style == '"':
        return json.dumps(fix.text, ensure_ascii=False)
    if node.style == "'":
        return "'" + fix.text.replace("'", "''") + "'"
    return fix.text if node.tag == PLAIN_TAG else json.dumps(fix.text, ensure_ascii=False)


def _write(name: str, content: bytes, changes: dict[tuple[int, int], str]) -> None:
    if name == "<stdin>":
        raise FailedError("stdin cannot be fixed; name a file with -f")
    text = content.decode("utf-8-sig")
    if len(text_of(content)) != len(text):  # places are those of the text that was read
        raise FailedError(f"{name} has \\ud83d\\ude00 escapes; write the characters themselves, then fix it")
    start = "\ufeff" if content.startswith(b"\xef\xbb\xbf") else ""
    for (first, last), new in sorted(changes.items(), reverse=True):
        text = text[:first] + new + text[last:]
    path = Path(name).resolve()  # the file, not a link to it
    if path.read_bytes() != content:
        raise FailedError(f"{name} changed meanwhile; run kgate lint --fix again")
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_bytes((start + text).encode())
        temporary.chmod(path.stat().st_mode & 0o7777)
        temporary.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise FailedError(f"cannot write {name}: {error.strerror}") from error
