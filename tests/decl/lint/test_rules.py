"""Every rule against the examples in its own docstring, and the registry."""

import re
import textwrap
from pathlib import Path

import pytest

from decl import lint
from decl.build import build
from decl.lint import OPTIONS, RULES
from decl.load import Text, load
from decl.tenants import expand

FACT = re.compile(
    r"\bKong(?:'s [^.;:]*?,?)? 3\.\d+\b|\b3\.9\.3\b"  # what a version does
    r"|\bkong/[\w/-]+\.lua\b|\bkong\.conf\b"  # a file of Kong
    r"|`?\b(?:GET|POST|PUT|PATCH) /\w+"  # what the Admin API answers
    r"|\b[\w.-]+/[\w.-]+#\d+\b"  # a thread
)

NEEDS_STATE = {"block-without-expiry", "fallback-size", "forgotten-canary-override", "stale-canary-override"}


def examples(rule: lint.Rule, head: str) -> list[str]:
    """The YAML blocks after PASS: or FAIL: of a rule's docstring."""
    parts = (rule.__doc__ or "").split(f"\n\n{head}:\n")[1:]
    return [textwrap.dedent(part.split("\n\n")[0]) for part in parts]


def hits(rule: lint.Rule, example: str) -> list[lint.Hit]:
    if example.lstrip().startswith("-"):  # plugins alone
        return [hit for one in ("- " + part for part in example.split("\n- ")) for hit in _hits(rule, one)]
    return _hits(rule, example)


def _hits(rule: lint.Rule, example: str) -> list[lint.Hit]:
    if example.lstrip("- ").startswith(("{name", "name")) or example.startswith("- - "):
        example = "plugins:\n" + example.replace("- - ", "- ")
    loaded = load([Text("example.yaml", example.encode())])
    assert not loaded.findings
    gateway = expand(build(loaded.document))
    return list(rule.check(lint.View(gateway, None, loaded.sources, "2026-01-01", None, OPTIONS)))


@pytest.mark.parametrize("rule", RULES.values(), ids=lambda rule: rule.ID)
def test_the_docstring_is_true(rule: lint.Rule) -> None:
    good, bad = examples(rule, "PASS"), examples(rule, "FAIL")
    assert good
    assert bad or rule.ID in NEEDS_STATE
    for example in good:
        assert hits(rule, example) == [], example
    for example in bad:
        assert len(hits(rule, example)) == 1, example


@pytest.mark.parametrize("rule", RULES.values(), ids=lambda rule: rule.ID)
def test_every_rule_names_the_fact_or_the_thread_behind_it(rule: lint.Rule) -> None:
    _, found, why = (rule.__doc__ or "").partition("\n\nWhy: ")
    assert found
    assert FACT.search(" ".join(why.partition("\n\n")[0].split())), why.partition("\n\n")[0]


def test_every_rule_is_in_the_registry() -> None:
    folder = Path(lint.__file__).parent / "rules"
    files = {path.stem.replace("_", "-") for path in folder.glob("*.py") if path.stem != "__init__"}
    assert files == set(RULES)
    assert len(RULES) >= 30


def test_two_rules_with_one_id_are_refused() -> None:
    rule = next(iter(RULES.values()))
    with pytest.raises(ValueError, match="same ID"):
        lint._registry(rule, rule)
