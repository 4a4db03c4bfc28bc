"""The line of a finding with a caret under the place."""

from __future__ import annotations

import re
from collections.abc import Mapping

from decl.findings import Finding
from decl.secret_fields import is_secret

_WORD = re.compile(r"\"[^\"]*\"|'[^']*'|[^\s,:\[\]{}#]+")
_WIDEST = 160
_FIELD = re.compile(r"""(["']?([A-Za-z0-9_]+)["']?\s*:\s*)("[^"]*"?|'[^']*'?|[^\s,\]}][^,\]}#]*)""")
_REFERENCE = re.compile(r"""["']?(\{vault://|\$\{\{|!env\b|!file\b|[\[{&*|>])""")
_KINDS = ("plugins", "keyauth_credentials", "jwt_secrets", "basicauth_credentials")


class Lines:
    """The lines of files, split when first asked for."""

    def __init__(self, texts: Mapping[str, bytes]) -> None:
        self._texts = texts
        self._split: dict[str, list[str]] = {}

    def line(self, file: str, number: int) -> str | None:
        """One line, counted from 1; None when there is none."""
        if file not in self._split:
            content = self._texts.get(file, b"").decode("utf-8-sig", "replace")
            # YAML's line breaks only: str.splitlines knows more than editors do
            self._split[file] = re.split(r"\r\n|\n|\r", content)
        lines = self._split[file]
        return lines[number - 1] if 0 < number <= len(lines) else None


def _without_secrets(line: str) -> str:
    """The line with stars for the values of fields that are secret by their name, of the same length."""

    def hide(match: re.Match[str]) -> str:
        secret = any(is_secret(kind, match[2]) for kind in _KINDS)
        if not secret or _REFERENCE.match(match[3]):
            return match.group()
        return match[1] + "*" * len(match[3].rstrip()) + match[3][len(match[3].rstrip()) :]

    return _FIELD.sub(hide, line)


def caret(finding: Finding, lines: Lines) -> list[str]:
    """Two lines: the source, and the caret with the length of the word there."""
    line = lines.line(finding.file, finding.line)
    if line is None or not line.strip() or finding.col > len(line) + 1:
        return []
    word = _WORD.match(line, finding.col - 1)
    width = len(word.group()) if word else 1
    start = max(0, finding.col - _WIDEST // 2) if len(line) > _WIDEST else 0
    shown = line[start : start + _WIDEST]
    before = "".join(c if c == "\t" else " " for c in line[start : finding.col - 1])
    margin = f"{finding.line:>5} | "
    carets = "^" * max(1, min(width, len(shown) - len(before)))
    shown = _without_secrets(line)[start : start + _WIDEST]
    safe = "".join(c if c.isprintable() or c == "\t" else "?" for c in shown)
    return [margin + safe, " " * 5 + " | " + before + carets]
