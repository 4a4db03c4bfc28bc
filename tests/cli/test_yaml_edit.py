"""Edits of YAML text: the value changes, and nothing else does."""

from __future__ import annotations

import json

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from cli.yaml_edit import applied, find_node, set_items, set_key

NAMES = st.sampled_from(["name", "percent", "users", "upstream", "ünïcode", "fail"])
SCALARS = st.one_of(
    st.integers(0, 99).map(str), st.sampled_from(['"a # b"', "'x'", "plain", "null", "[1, 2]", "{a: 1}"])
)
COMMENTS = st.sampled_from(["", " # why", "  # é: [x]"])
WORDS = st.lists(st.sampled_from(["kim", "lee", "https://a|amy", "x: #", "7"]), unique=True, max_size=4)


@st.composite
def block(draw: st.DrawFn) -> str:
    """A mapping in block form, in a list, with comments at every place."""
    names = draw(st.lists(NAMES, unique=True, min_size=1))
    lines = ["# head", "list:", "- first", "- # config"]
    for name in names:
        if draw(st.booleans()):
            items = draw(st.lists(SCALARS, min_size=1, max_size=3))
            lines.append(f"  {name}:{draw(COMMENTS)}")
            indent = draw(st.sampled_from(["  ", "    "]))
            lines += [f"{indent}- {item}{draw(COMMENTS)}" for item in items]
        else:
            lines.append(f"  {name}: {draw(SCALARS)}{draw(COMMENTS)}")
        if draw(st.booleans()):
            lines.append("  # between")
    return "\n".join([*lines, "- last", "end: 1", ""])


@settings(max_examples=60, deadline=None)
@given(block(), NAMES, st.integers(0, 100))
def test_set_key_changes_one_value(text: str, key: str, value: int) -> None:
    node = find_node(yaml.compose(text), ("list", 1))
    assert isinstance(node, yaml.MappingNode)
    changed = applied(text, [set_key(text, node, key, str(value))])
    expected = yaml.safe_load(text)
    expected["list"][1][key] = value
    assert yaml.safe_load(changed) == expected
    assert changed.count("# between") == text.count("# between")


@settings(max_examples=60, deadline=None)
@given(WORDS, WORDS, st.sampled_from(["", "\n"]), st.sampled_from(["  ", "    "]))
def test_set_items_keeps_the_lines_of_what_stays(
    old: list[str], new: list[str], end: str, indent: str
) -> None:
    lines = [f"{indent}- {json.dumps(word)} # {n}" for n, word in enumerate(old)]
    text = "\n".join(["a: 1", "config:", "  users:" + ("" if old else " []"), *lines]) + end
    node = find_node(yaml.compose(text), ("config",))
    assert isinstance(node, yaml.MappingNode)
    changed = applied(text, set_items(text, node, "users", new))
    loaded = yaml.safe_load(changed)
    assert sorted(loaded["config"]["users"]) == sorted(new)
    assert loaded["a"] == 1
    if any(word in new for word in old):
        for line, word in zip(lines, old, strict=True):
            assert (line in changed) == (word in new)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (("a", "b"), "1"),
        (("c", "b"), "1"),
        (("c", "d"), "2"),
        (("l", 1), "y"),
        (("l", 2), None),
        (("a", "x"), None),
    ],
)
def test_find_node(path: tuple[str | int, ...], expected: str | None) -> None:
    root = yaml.compose("a: &a {b: 1}\nc: {<<: *a, d: 2}\nl: [x, y]\n")
    found = find_node(root, path)
    assert (None if found is None else found.value) == expected
