"""Findings as `file:line:col: [level] message (rule)`, yamllint's form, which editors know."""

from __future__ import annotations

from collections.abc import Sequence

from decl.findings import Finding


def findings(found: Sequence[Finding]) -> str:
    """One line a finding, nothing when there is none."""
    return "\n".join(f"{f.file}:{f.line}:{f.col}: [{f.level}] {f.message} ({f.rule})" for f in found)
