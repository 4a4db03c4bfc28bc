"""Comments that switch rules off for a place.

    url: http://10.0.0.1  # kgate disable-line ip-literal-with-canary
    # kgate disable-line unnamed-route          (alone on its line: the next line is meant)
    # kgate disable no-passport                 (until `# kgate enable no-passport` or the file's end)
    # kgate disable-file retry-budget

Several rules are named with spaces or commas; without a name all rules are meant. Only lint rules can be
switched off: what Kong would refuse stays an error.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from typing import NamedTuple

from decl.findings import WARNING, Finding

_COMMENT = re.compile(r"(^|\s)#\s*kgate:?\s+(disable-line|disable-file|disable|enable)\b[ \t]*([\w ,\-]*)")


class Span(NamedTuple):
    """Lines (from 1, both ends included) in which a rule is off; rule "" is all rules."""

    rule: str
    first: int
    last: int


class Disabled(NamedTuple):
    """What a file's comments switch off, and what is wrong with the comments."""

    spans: tuple[Span, ...]
    findings: tuple[Finding, ...]

    def covers(self, finding: Finding) -> bool:
        """Whether a finding of this file is not wanted."""
        return any(
            span.rule in ("", finding.rule) and span.first <= finding.line <= span.last for span in self.spans
        )


_LAST = 1 << 60


def read(file: str, content: bytes, rules: Collection[str]) -> Disabled:
    """What the comments of one file say; rules: the names that there are."""
    if b"kgate" not in content or b"#" not in content:
        return Disabled((), ())
    spans: list[Span] = []
    findings: list[Finding] = []
    open_since: dict[str, int] = {}
    for number, line in enumerate(content.decode("utf-8-sig", "replace").splitlines(), 1):
        match = _COMMENT.search(line)
        if match is None:
            continue
        names = [name for name in re.split(r"[ ,]+", match[3].strip()) if name] or [""]
        for name in names:
            if name and name not in rules:
                message = f"there is no lint rule {name!r}; kgate lint --explain lists them"
                findings.append(Finding(file, number, match.start(3) + 1, WARNING, "unknown-rule", message))
        alone = not line[: match.start()].strip()
        for name in names:
            if match[2] == "disable-line":
                at = number + 1 if alone else number
                spans.append(Span(name, at, at))
            elif match[2] == "disable-file":
                spans.append(Span(name, 1, _LAST))
            elif match[2] == "disable":
                open_since.setdefault(name, number)
            else:
                spans.extend(_closed(open_since, name, number))
    spans.extend(Span(name, first, _LAST) for name, first in open_since.items())
    return Disabled(tuple(spans), tuple(findings))


def _closed(open_since: dict[str, int], name: str, number: int) -> Iterator[Span]:
    """`enable` without a name ends all; with one, that one."""
    for known in [known for known in open_since if name in ("", known)]:
        yield Span(known, open_since.pop(known), number)
