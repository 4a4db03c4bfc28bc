"""Findings as JUnit XML: one suite a file, one failed case a finding, for CI that shows tests only.

Warnings are passed cases with their text in `system-out`: a suite with warnings alone is green. The form is
the common subset that Jenkins, GitLab and Azure read (there is no standard).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import groupby
from xml.sax.saxutils import escape, quoteattr

from decl.findings import ERROR, Finding

_NOT_XML = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def findings(found: Sequence[Finding], files: Iterable[str] = ()) -> str:
    """The document. files: those without a finding get a suite with one passed case."""
    by_file = {file: list(items) for file, items in groupby(found, key=lambda finding: finding.file)}
    suites = [_suite(file, by_file.get(file, [])) for file in dict.fromkeys((*files, *by_file))]
    failures = sum(finding.level == ERROR for finding in found)
    total = sum(max(1, len(by_file.get(file, ()))) for file in dict.fromkeys((*files, *by_file)))
    head = f'<testsuites name="kgate" tests="{total}" failures="{failures}">'
    return "\n".join(('<?xml version="1.0" encoding="UTF-8"?>', head, *suites, "</testsuites>"))


def _suite(file: str, found: Sequence[Finding]) -> str:
    failures = sum(finding.level == ERROR for finding in found)
    name = _attribute(file)
    seen: Counter[str] = Counter()
    cases = [_case(finding, seen) for finding in found] or [
        f'<testcase classname={name} name="no findings"/>'
    ]
    head = f'<testsuite name={name} tests="{len(cases)}" failures="{failures}" errors="0">'
    return "\n".join((head, *cases, "</testsuite>"))


def _case(finding: Finding, seen: Counter[str]) -> str:
    title = f"{finding.rule} at {finding.line}:{finding.col}"
    seen[title] += 1
    # of two cases with one name GitLab shows the first only (its documentation of unit test reports)
    name = _attribute(title if seen[title] == 1 else f"{title} ({seen[title]})")
    head = f"<testcase classname={_attribute(finding.file)} name={name}"
    text = escape(_clean(str(finding)))
    if finding.level == ERROR:
        inner = (
            f"<failure message={_attribute(finding.message)} type={_attribute(finding.rule)}>{text}</failure>"
        )
    else:
        inner = f"<system-out>{text}</system-out>"
    return f"{head}>{inner}</testcase>"


def _clean(text: str) -> str:
    return _NOT_XML.sub("?", text)


def _attribute(text: str) -> str:
    return quoteattr(_clean(text), {"\n": "&#10;", "\t": "&#9;", "\r": "&#13;"})
