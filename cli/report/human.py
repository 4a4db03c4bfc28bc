"""Results as lines for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from decl.apply import NodeResult
from decl.findings import ERROR, Finding


def findings(found: Sequence[Finding]) -> Iterator[str]:
    """One line a finding, and the sum."""
    yield from map(str, found)
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
