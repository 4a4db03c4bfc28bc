"""Results as lines for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from cli.report.caret import Lines, caret
from decl.apply import NodeResult
from decl.findings import ERROR, Finding


def findings(
    found: Sequence[Finding],
    texts: Mapping[str, bytes] | None = None,
    secrets: frozenset[str] = frozenset(),
) -> Iterator[str]:
    """One line a finding, and the sum. With the files' texts each has its source line with a caret; secrets stand
    there as stars."""
    lines = Lines(texts, secrets) if texts is not None else None
    for finding in found:
        yield str(finding)
        if lines is not None:
            yield from caret(finding, lines)
    errors = sum(finding.level == ERROR for finding in found)
    if found:
        yield f"{_count(errors, 'error')}, {_count(len(found) - errors, 'warning')}"


def nodes(results: Sequence[NodeResult]) -> Iterator[str]:
    """One line a node: what happened, and why."""
    for result in results:
        reason = f": {result.reason}" if result.reason else ""
        yield f"{result.node}: {result.state}{reason}"
        for finding in result.findings:
            yield f"  {finding}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
