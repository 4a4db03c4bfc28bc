"""Every rule against the examples in its own docstring, and the registry."""

import textwrap
from pathlib import Path

import pytest
import yaml

from decl import lint
from decl.build import build
from decl.lint import RULES
from decl.tenants import expand


def examples(rule: lint.Rule) -> dict[str, list[str]]:
    """The YAML blocks after PASS: and FAIL: of a rule's docstring."""
    found: dict[str, list[str]] = {}
    for part in (rule.__doc__ or "").split("\n\n"):
        head, _, body = part.partition("\n")
        if head in ("PASS:", "FAIL:"):
            found[head[:-1]] = [textwrap.dedent(body)]
    return found


def hits(rule: lint.Rule, example: str) -> list[lint.Hit]:
    document = yaml.safe_load(example)
    if isinstance(document, list):  # plugins alone
        return [hit for plugin in document for hit in rule.check(expand(build({"plugins": [plugin]})))]
    return list(rule.check(expand(build(document))))


@pytest.mark.parametrize("rule", RULES.values(), ids=lambda rule: rule.ID)
def test_the_docstring_is_true(rule: lint.Rule) -> None:
    found = examples(rule)
    assert set(found) == {"PASS", "FAIL"}
    for example in found["PASS"]:
        assert hits(rule, example) == []
    for example in found["FAIL"]:
        assert len(hits(rule, example)) == 1


def test_every_rule_is_in_the_registry() -> None:
    folder = Path(lint.__file__).parent / "rules"
    files = {path.stem.replace("_", "-") for path in folder.glob("*.py") if path.stem != "__init__"}
    assert files == set(RULES)


def test_two_rules_with_one_id_are_refused() -> None:
    rule = next(iter(RULES.values()))
    with pytest.raises(ValueError, match="same ID"):
        lint._registry(rule, rule)
