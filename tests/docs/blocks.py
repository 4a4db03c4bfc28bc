"""Command blocks of the documentation.

A block is a fence of `sh` or `console`. The blocks of a page are one shell session, from top to bottom; a comment
above a block says where it is not run and why:

    <!-- not run: needs Docker -->

In a `console` block lines with `$ ` are commands, the others are output and not looked at.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
PAGES = (
    *sorted((ROOT / "docs").rglob("*.md")),
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "examples").rglob("README.md")),
)

_FENCE = re.compile(
    r"(?:<!-- not run: (?P<why>[^\n]+?) -->\n+)?^(?P<indent> *)```(?P<kind>sh|console|bash)\n(?P<text>.*?)^ *```$",
    re.MULTILINE | re.DOTALL,
)


class Block(NamedTuple):
    """line: of the fence; why_not: the reason why it is not run, "" where it is."""

    page: Path
    line: int
    text: str
    why_not: str

    @property
    def name(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks(page: Path) -> list[Block]:
    """The command blocks of a page."""
    text = page.read_text("utf-8")
    found = []
    for match in _FENCE.finditer(text):
        body = match["text"]
        if match["kind"] == "console":
            lines = [line[2:] for line in body.splitlines() if line.startswith("$ ")]
            body = "\n".join(lines) + "\n"
        line = text.count("\n", 0, match.start("indent")) + 1
        found.append(Block(page, line, body, match["why"] or ""))
    return found


def kgate_commands(block: Block) -> Iterator[list[str]]:
    """The words of each `kgate ...` in a block, up to a pipe or the like."""
    text = re.sub(r"\\\n\s*", " ", block.text)
    text = re.sub(r"'[^'\n]*\$\{\{[^'\n]*'", "''", text)
    for line in text.splitlines():
        for part in re.split(r"\|\|?|&&|;|\$\(|\)|(?<!>)&(?!\d)", line):
            part = part.split(" #")[0].strip()
            part = re.sub(r"^(?:(?:if|while|do|then|!|time|[A-Z_]+=\S*)\s+)*", "", part)
            part = part.lstrip('"')
            if re.match(r"kgate\s", part):
                try:
                    words = shlex.split(part, comments=True)
                except ValueError:
                    words = part.replace('"', "").split()
                yield [w for w in words[1:] if not re.match(r"^\d?[<>]", w)]
