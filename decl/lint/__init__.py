"""Lint: what Kong would accept but should not be there.

One rule is one file in `rules/`, a module with ID, LEVEL ("error" or "warning"), a docstring with examples
for users and a pure `check(gateway)` that yields a Hit for each place. The registry is the list here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

from decl.findings import Level, Problem
from decl.lint.hit import Hit
from decl.lint.rules import (
    adapter_in_source,
    gate_plugin_on_consumer,
    no_passport,
    protected_fail_open,
    serverless_of_tenant,
    unused_upstream,
)
from decl.model import Gateway


class Rule(Protocol):
    """What a rule's module looks like."""

    ID: str
    LEVEL: Level
    __doc__: str | None

    def check(self, gateway: Gateway) -> Iterable[Hit]:
        """Places where the expanded gateway breaks the rule."""
        ...


def _registry(*rules: Rule) -> dict[str, Rule]:
    found = {rule.ID: rule for rule in rules}
    if len(found) != len(rules):
        raise ValueError("two lint rules have the same ID")
    return found


RULES: dict[str, Rule] = _registry(
    adapter_in_source,
    gate_plugin_on_consumer,
    no_passport,
    protected_fail_open,
    serverless_of_tenant,
    unused_upstream,
)


def lint(gateway: Gateway) -> Iterator[Problem]:
    """All hits of all rules on an expanded gateway."""
    for rule in RULES.values():
        for hit in rule.check(gateway):
            yield Problem(hit.path, rule.ID, hit.message, rule.LEVEL)
