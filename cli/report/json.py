"""Results as JSON, with a shape that stays: fields are added, never changed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from decl.apply import NodeResult
from decl.findings import ERROR, Finding

VERSION = 1


def findings(found: Sequence[Finding]) -> str:
    """{"version", "findings": [{file, line, col, level, rule, message}], "errors", "warnings"}"""
    errors = sum(finding.level == ERROR for finding in found)
    return dump(
        {
            "version": VERSION,
            "findings": [finding._asdict() for finding in found],
            "errors": errors,
            "warnings": len(found) - errors,
        }
    )


def nodes(cluster: str, config_hash: str, results: Sequence[NodeResult]) -> str:
    """{"version", "cluster", "hash", "nodes": [{node, state, reason, findings}]}"""
    return dump(
        {
            "version": VERSION,
            "cluster": cluster,
            "hash": config_hash,
            "nodes": [
                {**result._asdict(), "findings": [finding._asdict() for finding in result.findings]}
                for result in results
            ],
        }
    )


def dump(value: Any) -> str:
    """One document on one line."""
    return json.dumps(value, ensure_ascii=False)
