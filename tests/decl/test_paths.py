"""Paths as Kong 3.9.3 rewrites them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from decl.paths import BadPath, escape, join, normalise


@pytest.mark.parametrize(
    ("raw", "sent"),
    [
        ("/r/a%20b", "/r/a%20b"),
        ("/r/a%2fb", "/r/a%2Fb"),
        ("/r/%61bc", "/r/abc"),
        ("/r/%7Etilde", "/r/~tilde"),
        ("/r/x/../y", "/r/y"),
        ("/r/./x", "/r/x"),
        ("/r/x/.", "/r/x/"),
        ("/r/x/..", "/r/"),
        ("/r//x", "/r/x"),
        ("/r///", "/r/"),
        ("/r/%2e%2e/x", "/x"),
        ("/r/..%2fx", "/r/..%2Fx"),
        ("/r/caf%c3%a9", "/r/caf%C3%A9"),
        ("/r/a|b", "/r/a%7Cb"),
        ('/r/a"b<c>', "/r/a%22b%3Cc%3E"),
        ("/r/[x]", "/r/[x]"),
        ("/r/{x}", "/r/%7Bx%7D"),
        ("/r\\x", "/r%5Cx"),
        ("//r/x", "/r/x"),
        ("/x/../r/x", "/r/x"),
        ("/r/.../x", "/r/.../x"),
        ("/r/%3Fq", "/r/%3Fq"),
    ],
)
def test_path_is_sent_normalised(raw: str, sent: str) -> None:
    assert escape(normalise(raw)) == sent


@pytest.mark.parametrize("raw", ["/r/a%zz", "/r/%", "/r/a%00b", "/../r/x", "/r/../../x", "*"])
def test_nginx_refuses(raw: str) -> None:
    with pytest.raises(BadPath):
        normalise(raw)


@given(st.text(alphabet="/.%2eabA~;", max_size=30))
def test_a_normal_path_has_no_dot_segments(tail: str) -> None:
    try:
        path = normalise("/" + tail)
    except BadPath:
        return
    assert path.startswith("/")
    assert "//" not in path
    assert not {".", ".."} & set(path.split("/"))


@pytest.mark.parametrize(
    ("base", "matched", "strip", "path", "sent"),
    [
        (None, "/", True, "/", "/"),
        (None, "/r", True, "/r", "/"),
        (None, "/r", True, "/rx", "/x"),
        (None, "/r/", True, "/r/x", "/x"),
        (None, "/r", False, "/r/", "/r/"),
        ("/", "/r", True, "/r/x", "/x"),
        ("/base", "/", True, "/", "/base"),
        ("/base", "/r", True, "/r", "/base"),
        ("/base", "/r", True, "/r/", "/base/"),
        ("/base", "/r/", True, "/r/", "/base/"),
        ("/base", "/r", True, "/rx", "/base/x"),
        ("/base", "/r", False, "/r/x", "/base/r/x"),
        ("/base/", "/", True, "/", "/base/"),
        ("/base/", "/r", True, "/r", "/base"),
        ("/base/", "/r", True, "/r/", "/base/"),
        ("/base/", "/r/12", True, "/r/12x", "/base/x"),
    ],
)
def test_service_path_and_the_rest(base: str | None, matched: str, strip: bool, path: str, sent: str) -> None:
    assert join(base, matched, path, strip) == sent
