"""Findings as SARIF 2.1.0 (OASIS, Static Analysis Results Interchange Format), for code scanning.

A rule stands once in `tool.driver.rules`; a result has a fingerprint that does not hang on the line number,
so that a finding is the same one after lines moved above it.
"""

from __future__ import annotations

import json
import posixpath
from collections import Counter
from collections.abc import Mapping, Sequence
from hashlib import sha256
from importlib import metadata
from typing import Any
from urllib.parse import quote

from decl.findings import ERROR, Finding
from decl.lint import RULES

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"


def findings(found: Sequence[Finding]) -> str:
    """The log of one run."""
    rules = sorted({finding.rule for finding in found})
    index = {rule: number for number, rule in enumerate(rules)}
    seen: Counter[str] = Counter()
    driver = {
        "name": "kgate",
        "version": metadata.version("kgate"),
        "rules": [_rule(rule) for rule in rules],
    }
    run = {
        "tool": {"driver": driver},
        "columnKind": "unicodeCodePoints",
        "results": [_result(finding, index, seen) for finding in found],
    }
    return json.dumps({"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}, indent=1, ensure_ascii=False)


def _rule(name: str) -> Mapping[str, Any]:
    rule = RULES.get(name)
    if rule is None:
        return {"id": name, "shortDescription": {"text": name.replace("-", " ")}}
    text = (rule.__doc__ or "").strip()
    return {
        "id": name,
        "shortDescription": {"text": text.splitlines()[0]},
        "fullDescription": {"text": text.partition("\n\nPASS:")[0]},
        "defaultConfiguration": {"level": rule.LEVEL},
    }


def _result(finding: Finding, index: Mapping[str, int], seen: Counter[str]) -> Mapping[str, Any]:
    same = f"{finding.file}\0{finding.rule}\0{finding.message}"
    seen[same] += 1
    fingerprint = sha256(f"{same}\0{seen[same]}".encode()).hexdigest()[:32]
    uri = quote(posixpath.normpath(finding.file.replace("\\", "/")))
    if uri.startswith("/"):
        uri = f"file://{uri}"  # section 3.4.3: what is absolute names its scheme
    return {
        "ruleId": finding.rule,
        "ruleIndex": index[finding.rule],
        "level": "error" if finding.level == ERROR else "warning",
        "message": {"text": finding.message},
        "locations": [
            {
                "physicalLocation": {
                    "artifactLocation": {"uri": uri},
                    "region": {"startLine": finding.line, "startColumn": finding.col},
                }
            }
        ],
        "partialFingerprints": {"kgate/v1": fingerprint},
    }
