"""The line of a finding with a caret under the place."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping

from decl.findings import Finding
from decl.secret_fields import is_secret

_WORD = re.compile(r"\"[^\"]*\"|'[^']*'|[^\s,:\[\]{}#]+")
_WIDEST = 160
_FIELD = re.compile(
    r"""(["']?([A-Za-z0-9_]+)["']?\s*:\s*)("(?:[^"\\]|\\.)*"?|'(?:[^']|'')*'?|[^\s,\[\]{}][^,\]}#]*)"""
)
_CREDENTIALS = re.compile(
    r"""((?<=://))([^/\s"'@]*:[^/\s"'@]+)(?=@)"""
    r"""|(authorization["']?\s*:\s*)("(?:[^"\\]|\\.)*"?|'[^']*'?|[^"'\]},]+)""",
    re.IGNORECASE,
)
"""`http://user:password@host`; headers, as a map has them and as the transformers take them."""
_REFERENCE = re.compile(r"""["']?(\{vault://|\$\{\{|!env\b|!file\b|[\[{&*|>])""")
_KINDS = ("plugins", "keyauth_credentials", "jwt_secrets", "basicauth_credentials")


class Lines:
    """The lines of files, split when first asked for; secrets: what must not be shown of them."""

    def __init__(self, texts: Mapping[str, bytes], secrets: frozenset[str] = frozenset()) -> None:
        self._texts = texts
        self.secrets = secrets
        self._split: dict[str, list[str]] = {}

    def line(self, file: str, number: int) -> str | None:
        """One line, counted from 1; None when there is none."""
        if file not in self._split:
            content = self._texts.get(file, b"").decode("utf-8-sig", "replace")
            # YAML's line breaks only (1.1, section 5.4, as libyaml has them): str.splitlines knows more
            self._split[file] = re.split("\r\n|[\n\r\x85\u2028\u2029]", content)
        lines = self._split[file]
        return lines[number - 1] if 0 < number <= len(lines) else None


def _without_secrets(line: str, secrets: frozenset[str]) -> str:
    """The line with stars for the secrets, and for the values of fields that are secret by their name; it keeps its
    length."""

    def hide(match: re.Match[str]) -> str:
        secret = any(is_secret(kind, match[2]) for kind in _KINDS)
        if not secret or _REFERENCE.match(match[3]) or match[3].strip() in ("true", "false"):
            return match.group()
        return match[1] + "*" * len(match[3].rstrip()) + match[3][len(match[3].rstrip()) :]

    line = _FIELD.sub(hide, line)
    line = _CREDENTIALS.sub(_without_credentials, line)
    if line.strip() in secrets:  # a line of a block
        return re.sub(r"\S", "*", line)
    return _WORD.sub(lambda match: _starred(match.group(), secrets), line) if secrets else line


def _without_credentials(match: re.Match[str]) -> str:
    before, secret = (match[1], match[2]) if match[2] is not None else (match[3], match[4])
    return match.group() if _REFERENCE.match(secret) else before + "*" * len(secret)


def _starred(word: str, secrets: frozenset[str]) -> str:
    return "*" * len(word) if word in secrets or word[1:-1] in secrets else word


def _cells(character: str) -> int:
    """The columns of a terminal that a character takes (Unicode's annex 11; combining marks take none)."""
    if unicodedata.category(character) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def caret(finding: Finding, lines: Lines) -> list[str]:
    """Two lines: the source, and the caret with the length of the word there."""
    line = lines.line(finding.file, finding.line)
    if line is None or not line.strip() or finding.col > len(line) + 1:
        return []
    word = _WORD.match(line, finding.col - 1)
    width = len(word.group()) if word else 1
    start = max(0, finding.col - _WIDEST // 2) if len(line) > _WIDEST else 0
    shown = line[start : start + _WIDEST]
    before = "".join(c if c == "\t" else " " * _cells(c) for c in line[start : finding.col - 1])
    masked = _without_secrets(line, lines.secrets)
    if finding.rule == "literal-secret" and masked[finding.col - 1 : finding.col] not in (
        "*",
        "|",
        ">",
        "&",
        "",
    ):
        # the place is the secret's, however it is written
        masked = line[: finding.col - 1] + "*" * len(line[finding.col - 1 :].rstrip())
    margin = f"{finding.line:>5} | "
    carets = "^" * max(1, sum(map(_cells, shown[finding.col - 1 - start :][:width])))
    shown = masked[start : start + _WIDEST]
    safe = "".join(c if c.isprintable() or c == "\t" else "?" for c in shown)
    return [margin + safe, " " * 5 + " | " + before + carets]
