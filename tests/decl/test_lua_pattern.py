"""Against Lua itself."""

import re

import lupa.luajit21 as lupa
import pytest

from decl.lua_pattern import to_regex

TEXTS = [
    "", "a", "GET", "get", "a:b", "a:", ":b", "a b:c d", "200-299", "200-", "a@b.c", "@", "a-b", "x%y", "]", "^", "$",
    "a1_", "\t", "ab12", "a`b", "a\nb",
]  # fmt: skip


@pytest.mark.parametrize(
    "pattern",
    [
        "%w*%p*@+%w*%.?%w*", "^%u+$", "^.*[^:]$", "^[0-9]+-[0-9]+$", "^[^*&%%\\`]+$", "^[^:]+:.*$",
        "^[%a_-][%a%d_-]*$",
        "%s", "%S", "^%l-$", "[]]", "[^]]", "[%]]", "^a?b*$", "%$", "x%%y", "^.-:", "^[a-c1-3_]+$", "$a", "^",
    ],
)  # fmt: skip
def test_it_takes_what_lua_takes(pattern: str) -> None:
    found = to_regex(pattern)
    assert found is not None
    match = lupa.LuaRuntime().eval("function(text, pattern) return text:match(pattern) ~= nil end")
    taken = {text: re.search(found, text) is not None for text in TEXTS}
    assert taken == {text: match(text, pattern) for text in TEXTS}


@pytest.mark.parametrize("pattern", ["(a)", "%b()", "%f[a]", "[%A]", "[a", "%1", "a%"])
def test_what_has_no_counterpart(pattern: str) -> None:
    assert to_regex(pattern) is None
