from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from decl.settings import Settings, parse

RULES = {"a": {"days": 7, "deep": False}, "b": {}}
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.sampled_from(["a", "b", "off", "error", "days"])),
    lambda inner: st.one_of(
        st.lists(inner, max_size=2),
        st.dictionaries(st.sampled_from(["rules", "a", "b", "level", "days", "ignore", "fail_on"]), inner),
    ),
    max_leaves=6,
)


def test_all_of_it() -> None:
    document = {
        "rules": {"a": {"level": "error", "days": 1}, "b": "off"},
        "ignore": ["old/**"],
        "fail_on": "warning",
        "env_prefixes": ["A_", "B_"],
        "schemas": "s",
        "plugins": ["p"],
    }
    found = parse(document, RULES)
    assert found.levels == {"a": "error", "b": "off"}
    assert found.options["a"] == {"days": 1}
    assert found.ignores("old/x/y.yaml")
    assert found.ignores("gateway/old/x.yaml")
    assert not found.ignores("older.yaml")
    assert found.allows_variable("B_X")
    assert not found.allows_variable("C_X")
    assert parse(None, RULES) == Settings()


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ([], "expected a map"),
        ({"rules": []}, None),
        ({"rules": ["a"]}, "rules: expected a map"),
        ({"rules": {"a": {"days": True}}}, "rules.a.days: expected int, found bool"),
        ({"schemas": 5}, "schemas: expected the name of a folder"),
    ],
)
def test_what_is_refused(document: object, message: str | None) -> None:
    if message is None:
        assert parse(document, RULES) == Settings()
        return
    with pytest.raises(ValueError, match=message):
        parse(document, RULES)


@given(VALUES)
def test_anything_is_taken_or_refused_by_name(value: object) -> None:
    with suppress(ValueError):
        parse(value, RULES)
