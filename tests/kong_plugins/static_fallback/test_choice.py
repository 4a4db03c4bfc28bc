"""Which answer fits: the server's choice and the adapter's are the same, on the same table."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kong_plugins.engine.facts import Facts
from kong_plugins.static_fallback.choice import accepts, choose, give
from kong_plugins.static_fallback.config import parse
from kong_plugins.static_fallback.prepared import PreparedAnswer, lua_pattern, plan, to_wire
from tests.kong_plugins.adapter.conftest import World

WORLD = World()
"""For hypothesis, which takes no fixtures of a function."""


@pytest.fixture(scope="module")
def lua() -> World:
    return World()


def facts(method: str = "GET", path: str = "/", **headers: str) -> Facts:
    found = {name.replace("_", "-"): value for name, value in headers.items()}
    return Facts("r-1", "10.0.0.1", "https", method, "h", path, path, "r", "s", "t", "", frozenset(), found)


ACCEPT = [
    ("", "text/html", True),
    ("  ", "text/html", True),
    ("*/*", "text/html", True),
    ("text/*", "text/html", True),
    ("text/html", "text/html", True),
    ("TEXT/HTML;q=0.2", "text/html", True),
    ("application/json", "text/html", False),
    ("text/plain, */*;q=0", "text/html", False),
    ("text/html;q=0, */*", "text/html", False),
    ("text/*;q=0, text/html;q=0.1", "text/html", True),
    ("*/*;q=0.000", "text/html", False),
    ("*/*; q = 0.1", "text/html", True),
    ("text/htm", "text/html", False),
    (";;,,", "text/html", False),
]


@pytest.mark.parametrize(("header", "media_type", "expected"), ACCEPT)
def test_accept(lua: World, header: str, media_type: str, expected: bool) -> None:
    assert accepts(header, media_type) is expected
    assert lua.module("kgate.fallback").accepts(header.encode(), media_type.encode()) is expected


PATHS = [
    ("/a", "/a", True),
    ("/a", "/ab", False),
    ("/a/*", "/a/b", True),
    ("/a/*", "/a/b/c", False),
    ("/a/**", "/a/b/c", True),
    ("**/x.json", "/a/b/x.json", True),
    ("/a.b", "/aXb", False),
    ("/a-(b)+[c]%d$^?", "/a-(b)+[c]%d$^?", True),
    ("/*/items/**", "/shop/items/1/2", True),
]


@pytest.mark.parametrize(("glob", "path", "expected"), PATHS)
def test_paths(lua: World, glob: str, path: str, expected: bool) -> None:
    answer = PreparedAnswer("n", ("open",), 200, (), "", paths=(glob,))
    assert (choose([answer], "open", facts(path=path)) is not None) is expected
    found = lua.run(
        "local path, pattern = ...; return path:find(pattern) ~= nil",
        path.encode(),
        lua_pattern(glob).encode(),
    )
    assert found is expected


@given(st.text("/a.*-%", max_size=6), st.text("/a.-%", max_size=8))
def test_a_glob_is_the_same_in_both(glob: str, path: str) -> None:
    pattern = "".join(
        {"**": ".*", "*": "[^/]*"}.get(part) or re.escape(part) for part in re.split(r"(\*\*|\*)", glob)
    )
    found = WORLD.run(
        "local path, pattern = ...; return path:find(pattern) ~= nil",
        path.encode(),
        lua_pattern(glob).encode(),
    )
    assert found is (re.fullmatch(pattern, path) is not None)


ANSWERS = parse(
    {
        "responses": [
            {"name": "page", "on": ["502"], "accept": "text/html"},
            {"name": "order", "on": ["502"], "methods": ["POST"]},
            {"name": "items", "on": ["502"], "paths": ["/items/*"], "methods": ["GET"]},
            {"name": "rest", "on": ["502", "reset"]},
        ]
    }
).plan
REQUESTS = [
    ("GET", "/", "text/html", "page"),
    ("POST", "/", "application/json", "order"),
    ("GET", "/items/1", "application/json", "items"),
    ("HEAD", "/items/1", "application/json", "items"),
    ("DELETE", "/items/1", "application/json", "rest"),
]


@pytest.mark.parametrize(("method", "path", "accept", "name"), REQUESTS)
def test_both_choose_the_same(lua: World, method: str, path: str, accept: str, name: str) -> None:
    wire = to_wire(ANSWERS)
    answers = lua.module("kgate.prepared").store(wire["k"].encode(), lua.table(wire["r"]))
    lua.request(method=method, path=path, headers=[("Accept", accept)])
    answer, token = lua.module("kgate.fallback").choose(answers, 502, b"reset")
    assert (answer[b"name"].decode(), token) == (name, b"502")
    found = choose(ANSWERS.answers, "open", facts(method, path, accept=accept))
    assert found is not None
    assert found.name == name


def test_the_order_of_choice() -> None:
    answers = parse(
        {
            "responses": [
                {"on": ["502"], "name": "a"},
                {"on": ["503"], "name": "b"},
                {"on": ["open"], "name": "c"},
            ]
        }
    ).plan.answers
    found = [
        choose(answers, "open", facts()),
        choose(answers, "forced", facts()),
        choose(answers, "open", facts(), "a"),
    ]
    assert [answer and answer.name for answer in found] == ["c", "b", "a"]
    assert choose(answers[:1], "open", facts()) == answers[0]
    only = parse({"responses": [{"on": ["open"], "methods": ["PUT"]}]}).plan.answers
    assert choose(only, "open", facts()) is None


def answer(**more: Any) -> PreparedAnswer:
    return parse({"responses": [{"on": ["open"], "status": 503, **more}]}).plan.answers[0]


def test_placeholders_are_filled_in_at_once_and_by_the_adapter(lua: World) -> None:
    text = "{{request_id}} {{ retry_after }} {{time}}"
    made = answer(body=text, headers={"X-Id": "{{request_id}}"}, on=["open", "502"], retry_after=7)
    verdict = give(made, "open", facts(), 1_800_000_000.0, 2.2)
    assert verdict.body == "r-1 3 Fri, 15 Jan 2027 08:00:00 GMT"
    headers = dict(verdict.headers)
    assert (headers["X-Id"], headers["Retry-After"]) == ("r-1", "3")
    wire = to_wire(plan((made,)))
    answers = lua.module("kgate.prepared").store(b"h", lua.table(wire["r"]))
    lua.request()
    lua.fake[b"now"] = 1_800_000_000
    lua.module("kgate.fallback").swap(answers[1], b"502", b"r-1")
    sent = lua.py(lua.fake[b"exits"])[-1]
    assert sent[1] == "r-1 7 Fri, 15 Jan 2027 08:00:00 GMT"
    assert (sent[2]["X-Id"], sent[2]["Retry-After"]) == ("r-1", "7")


def test_grpc_gets_its_status_from_both(lua: World) -> None:
    made = answer(grpc_status=8, body="x", on=["open", "502"])
    verdict = give(made, "open", facts(content_type="Application/gRPC+proto"), 0.0)
    assert (verdict.status, verdict.body, dict(verdict.headers)["grpc-status"]) == (200, "", "8")
    answers = lua.module("kgate.prepared").store(b"g", lua.table(to_wire(plan((made,)))["r"]))
    lua.request(headers=[("Content-Type", "application/grpc")])
    lua.module("kgate.fallback").swap(answers[1], b"502", b"r")
    sent = lua.py(lua.fake[b"exits"])[-1]
    assert (sent[0], sent[1], sent[2]["grpc-status"]) == (200, "", "8")


@pytest.mark.parametrize(
    ("more", "left", "expected"),
    [
        ({}, 0.0, "5"),
        ({}, 1.2, "2"),
        ({"retry_after": 0}, 0.0, None),
        ({"status": 200}, 3.0, None),
        ({"status": 200, "retry_after": 9}, 0.0, "9"),
    ],
)
def test_retry_after_where_it_fits(more: dict[str, Any], left: float, expected: str | None) -> None:
    assert dict(give(answer(**more), "open", facts(), 0.0, left).headers).get("Retry-After") == expected


def test_head_has_the_length_of_the_body_that_kong_leaves_out() -> None:
    assert give(answer(body="x"), "open", facts("HEAD"), 0.0).body == "x"


@pytest.mark.parametrize(
    ("word", "times", "expected"),
    [
        ("refused", "-", "refused"),
        ("refused", "0.001", "reset"),
        ("refused", "0.001, -", "refused"),
        ("refused", "-, 0.000", "reset"),
        ("refused", "", "refused"),
        ("timeout", "0.001", "timeout"),
    ],
)
def test_refused_or_reset(lua: World, word: str, times: str, expected: str) -> None:
    assert lua.module("kgate.fallback").refine(word.encode(), times.encode()) == expected.encode()


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"body": "{{user}}"}, r"responses\[0\]\.body: placeholder 'user'"),
        ({"headers": {"X": "{{path}}"}}, r"responses\[0\]\.headers: placeholder"),
        ({"methods": ["get"]}, r"responses\[0\]\.methods\[0\]"),
        ({"paths": ["x"]}, r"responses\[0\]\.paths\[0\]"),
        ({"paths": ["/*/*/*/*/*"]}, "wildcards"),
        ({"accept": "html"}, r"responses\[0\]\.accept"),
        ({"retry_after": 1.5}, "retry_after"),
        ({"grpc_status": 17}, "grpc_status"),
        ({"headers": {"Retry-After": "1"}}, "cannot be set"),
    ],
)
def test_bad_config_names_the_field(more: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        answer(**more)
