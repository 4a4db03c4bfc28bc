"""static-fallback: Kong's config, the YAML form, the plan and its wire form."""

from __future__ import annotations

import datetime
import json
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kong_plugins.engine.facts import Facts
from kong_plugins.engine.verdict import Verdict
from kong_plugins.state.base import State
from kong_plugins.state.snapshot import empty_snapshot
from kong_plugins.static_fallback.config import MAX_BODY_BYTES, SOURCE_SCHEMA, parse, to_kong
from kong_plugins.static_fallback.core import decide
from kong_plugins.static_fallback.prepared import to_wire


def one(**answer: Any) -> dict[str, Any]:
    return {"responses": [{"on": ["502"], **answer}]}


def test_defaults() -> None:
    config = parse(one())
    (answer,) = config.plan.answers
    assert config.fail == "closed"
    assert (answer.name, answer.on, answer.status, answer.body) == ("static", ("502",), 200, "")
    assert answer.headers == (
        ("Content-Type", "text/plain; charset=utf-8"),
        ("Cache-Control", "no-store"),
    )


def test_what_goes_over_the_wire() -> None:
    raw = one(
        name="empty-cart",
        on=["502", "refused"],
        status=203,
        headers={"X-B": "2", "X-A": "1"},
        body='{"items":[]}',
        content_type="application/json",
    )
    plan = parse(raw).plan
    assert to_wire(plan) == {
        "k": plan.hash,
        "r": [
            {
                "on": ["502", "refused"],
                "st": 203,
                "h": [
                    "Content-Type",
                    "application/json",
                    "Cache-Control",
                    "no-store",
                    "X-A",
                    "1",
                    "X-B",
                    "2",
                ],
                "b": '{"items":[]}',
                "nm": "empty-cart",
            }
        ],
    }


def test_the_verdict_names_the_plan() -> None:
    config = parse(one())
    facts = Facts("r", "10.0.0.1", "https", "GET", "h", "/", "/", "r", "s", "t", "", frozenset(), {})
    state = State(empty_snapshot(), trust=None)  # type: ignore[arg-type]
    assert decide(facts, config, state, 0.0) == Verdict(prepared=config.plan.hash)
    assert len(config.plan.hash) == 32


def test_the_hash_is_of_the_content_and_never_changes_by_itself() -> None:
    # a literal: another value after an upgrade would make every worker fetch again while nodes differ
    assert parse(one()).plan.hash == "cb30b6759e16e2ed1e051d0c9b616d4c"
    same = {"responses": [{"name": "static", "status": 200, "on": ["502"], "headers": {}}], "fail": "open"}
    assert parse(same).plan.hash == parse(one()).plan.hash
    assert (
        parse(one(headers={"A": "1", "B": "2"})).plan.hash
        == parse(one(headers={"B": "2", "A": "1"})).plan.hash
    )


@pytest.mark.parametrize(
    "change",
    [
        {"name": "n"},
        {"status": 503},
        {"body": "b"},
        {"headers": {"X": "1"}},
        {"on": ["503"]},
        {"on": ["502", "503"]},
        {"content_type": "text/html"},
    ],
)
def test_every_change_of_content_changes_the_hash(change: dict[str, Any]) -> None:
    assert parse(one(**change)).plan.hash != parse(one()).plan.hash


@pytest.mark.parametrize("status", [204, 205, 304])
def test_an_answer_without_body_has_no_content_type(status: int) -> None:
    (answer,) = parse(one(status=status)).plan.answers
    assert answer.headers == (("Cache-Control", "no-store"),)


def test_absent_and_null_and_empty_lua_tables_are_the_same() -> None:
    nothing = {"name": None, "status": None, "headers": [], "body": None, "content_type": None}
    assert parse(one(**nothing)) == parse(one()) == parse(one(headers={}, status=200.0))


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        ({}, r"^responses: expected a list"),
        ({"responses": []}, r"^responses: expected a list"),
        ({"responses": {}}, r"^responses: expected a list"),
        ({"responses": "x"}, r"^responses: expected a list"),
        ({"responses": [{"on": ["502"]}] * 33}, r"^responses: 33 answers, 32 are allowed"),
        ({"responses": ["x"]}, r"^responses\[0\]: expected a record"),
        ({"responses": [{}]}, r"^responses\[0\]\.on: expected at least one"),
        (one(on=["502", "399"]), r"^responses\[0\]\.on\[1\]: '399' is not"),
        (one(on=["600"]), r"^responses\[0\]\.on\[0\]"),
        (one(on=["5xx"]), r"^responses\[0\]\.on\[0\]"),
        (one(on=["rest"]), r"^responses\[0\]\.on\[0\]: 'rest' is not 400 to 599, refused, reset"),
        (one(on=[502]), r"^responses\[0\]\.on\[0\]: expected text"),
        (
            {"responses": [{"on": ["502", "503"]}, {"on": ["503"]}]},
            r"^responses\[1\]\.on: responses\[0\] answers '503' already",
        ),
        (one(status=199), r"^responses\[0\]\.status: "),
        (one(status=600), r"^responses\[0\]\.status: "),
        (one(status=200.5), r"^responses\[0\]\.status: expected a whole number"),
        (one(status=204, body="x"), r"^responses\[0\]\.body: an answer with status 204 has no body"),
        (one(body="x" * (MAX_BODY_BYTES + 1)), r"^responses\[0\]\.body: 65537 bytes"),
        (one(body="\u00e9" * 40_000), r"^responses\[0\]\.body: 80000 bytes"),
        (one(body="\ud800"), r"^responses\[0\]\.body: not text"),
        (one(name="a;b"), r"^responses\[0\]\.name: "),
        (one(name=""), r"^responses\[0\]\.name: "),
        (one(content_type="a\r\nb"), r"^responses\[0\]\.content_type: "),
        (one(headers=["X"]), r"^responses\[0\]\.headers: expected a map"),
        (one(headers={"X Y": "1"}), r"^responses\[0\]\.headers: 'X Y' is not a header name"),
        (one(headers={"X": "a\r\nSet-Cookie: b"}), r"^responses\[0\]\.headers: the value of X"),
        (one(headers={"X": 1}), r"^responses\[0\]\.headers: the value of X"),
        (one(headers={"X": "1", "x": "2"}), r"^responses\[0\]\.headers: x is there twice"),
        (one(headers={"Content-length": "1"}), r"^responses\[0\]\.headers: Content-length cannot be set"),
        (one(headers={"Transfer-Encoding": "chunked"}), r"cannot be set here"),
        (one(headers={"CACHE-CONTROL": "public"}), r"cannot be set here"),
        (one(headers={"X-Fallback": "x"}), r"cannot be set here"),
        ({**one(), "fail": "never"}, r"^fail: "),
    ],
)
def test_bad_config_names_the_field(raw: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        parse(raw)


@pytest.mark.parametrize(
    ("source", "kong"),
    [
        ({"on": [502, "503", "timeout"]}, {"on": ["502", "503", "timeout"]}),
        (
            {"on": [502], "json": {"b": [], "a": "\u00e9"}},
            {"on": ["502"], "body": '{"a":"\u00e9","b":[]}', "content_type": "application/json"},
        ),
        ({"on": [502], "json": None}, {"on": ["502"], "body": "null", "content_type": "application/json"}),
        (
            {"on": [502], "json": 1, "content_type": "application/hal+json"},
            {"on": ["502"], "body": "1", "content_type": "application/hal+json"},
        ),
        (
            {"on": [502], "text": "closed"},
            {"on": ["502"], "body": "closed", "content_type": "text/plain; charset=utf-8"},
        ),
        (
            {"on": ["502"], "body": "<b>", "content_type": "text/html"},
            {"on": ["502"], "body": "<b>", "content_type": "text/html"},
        ),
    ],
)
def test_the_yaml_form_becomes_kongs(source: dict[str, Any], kong: dict[str, Any]) -> None:
    raw = {"fail": "open", "responses": [source]}
    before = json.dumps(raw)
    jsonschema.validate(raw, SOURCE_SCHEMA)
    assert to_kong(raw) == {"fail": "open", "responses": [kong]}
    assert to_kong(to_kong(raw)) == to_kong(raw)
    assert json.dumps(raw) == before
    parse(to_kong(raw))


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        ({"json": 1, "text": "x"}, r"^responses\[0\]: json and text exclude each other"),
        ({"json": 1, "body": "x"}, r"^responses\[0\]: json and body exclude each other"),
        ({"json": float("nan")}, r"^responses\[0\]\.json: "),
        ({"json": {"when": datetime.date(2026, 1, 1)}}, r"^responses\[0\]\.json: .*date"),
        ({"json": {1: 1, "a": 2}}, r"^responses\[0\]\.json: "),
    ],
)
def test_yaml_that_has_no_kong_form(answer: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        to_kong(one(**answer))


@pytest.mark.parametrize(
    "raw", [{}, {"responses": None}, {"responses": "x"}, {"responses": ["x"]}, one(on="502")]
)
def test_wrong_types_are_left_to_the_schema(raw: dict[str, Any]) -> None:
    assert to_kong(raw) == raw
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(raw, SOURCE_SCHEMA)


@pytest.mark.parametrize(
    "answer",
    [{"on": []}, {"on": [399]}, {"on": [600]}, {"on": ["5xx"]}, {"on": [True]}, {"status": 199}, {"jsn": 1}],
)
def test_the_schema_of_the_yaml_form_refuses(answer: dict[str, Any]) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(one(**answer), SOURCE_SCHEMA)


values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(st.characters(codec="utf-8"))),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=15,
)


@given(values)
def test_json_arrives_as_it_was_written(value: Any) -> None:
    kong = to_kong(one(json=value))
    assert json.loads(kong["responses"][0]["body"]) == value
