"""Findings as workflow commands of GitHub Actions: they show at the line in a pull request.

Form: docs.github.com, "Workflow commands": `::error file=,line=,col=,title=::message`, with %, CR and LF
escaped, and in properties `:` and `,` too.
"""

from __future__ import annotations

from collections.abc import Sequence

from decl.findings import Finding


def findings(found: Sequence[Finding]) -> str:
    """One command a finding."""
    return "\n".join(
        f"::{f.level} file={_property(f.file)},line={f.line},col={f.col},title={_property(f.rule)}"
        f"::{_data(f.message)}"
        for f in found
    )


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
