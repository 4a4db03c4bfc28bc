"""The quick check against jsonschema itself: a yes must be a yes there too, or errors would slip through."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

import schemas
from decl.validate.fast import Compiler
from decl.validate.schema import checker, plugin_checker

GATEWAY = schemas.gateway()
KINDS = ("service", "route", "plugin", "upstream", "consumer", "tenant", "cluster", "issuer", "target")
CHECKERS = {kind: checker({"$ref": f"#/$defs/{kind}"}, GATEWAY) for kind in KINDS}

FIELDS = sorted({name for kind in KINDS for name in GATEWAY["$defs"][kind]["properties"]})
leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 70_000),
    st.floats(-2, 3, allow_nan=False),
    st.sampled_from(["", "/x", "x", "http", "http://a", "GET", "a,b", "1.1.1.1:80", "db", "dbless"]),
)
values = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=4),
    max_leaves=8,
)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(KINDS), st.dictionaries(st.sampled_from(FIELDS), values, max_size=5))
def test_both_say_the_same_of_entities(kind: str, value: dict[str, Any]) -> None:
    found = CHECKERS[kind]
    assert found.accepts(value) is found.explain.is_valid(value)
    assert found.accepts(value) is not bool(list(found.problems(value, ())))


@pytest.mark.parametrize(
    ("name", "config", "valid"),
    [
        ("cors", {"methods": ["GET"], "max_age": None}, True),
        ("cors", {"methods": ["FETCH"]}, False),
        ("ip-restriction", {"deny": ["1.1.1.1"]}, True),
        ("ip-restriction", {}, False),
        ("rate-limiting", {"minute": 5, "redis": {"host": "r"}}, True),
        ("rate-limiting", {"minute": True}, False),
        ("static-fallback", {"responses": [{"on": [503, "timeout"], "json": None}]}, True),
        ("static-fallback", {"responses": [{"on": [True]}]}, False),
        ("passport", {"issuers": ["a"], "claims": {"x": "y"}}, True),
        ("passport", {"issuers": []}, False),
        ("canary-router", {"name": "x", "upstream": "u", "percent": 0.5}, True),
    ],
)
def test_both_say_the_same_of_plugin_configs(name: str, config: dict[str, Any], valid: bool) -> None:
    found = plugin_checker(name)
    assert found is not None
    assert found.accepts(config) is found.explain.is_valid(config) is valid


@pytest.mark.parametrize("value", [1, 1.0, 1.5, True, False, "1", None, [], {}])
@pytest.mark.parametrize(
    "schema",
    [
        {"type": "integer"},
        {"type": ["number", "null"]},
        {"enum": [1, "1", None]},
        {"enum": [True]},
        {"const": True},
        {"const": 0},
        {"minimum": 1},
        {"exclusiveMinimum": 1},
        {"anyOf": [{"type": "string"}, {"type": "array", "minItems": 1}]},
        {"propertyNames": {"pattern": "^a"}},
        {"additionalProperties": False},
        {"minProperties": 1},
    ],
)
def test_keywords(schema: dict[str, Any], value: Any) -> None:
    assert Compiler(schema).compile(schema)(value) is Draft202012Validator(schema).is_valid(value)


@pytest.mark.parametrize("schema", [{"not": {}}, {"$ref": "other.json"}, {"items": {"oneOf": []}}])
def test_an_unknown_keyword_is_refused_when_compiling(schema: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="is not supported"):
        Compiler(schema).compile(schema)
