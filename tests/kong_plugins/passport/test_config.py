"""Passport's config as Kong may send it."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kong_plugins.engine.registry import parse_config
from kong_plugins.passport.config import RESERVED_CLAIMS, SCHEMA, parse

BASE = {"issuers": ["main"]}


def test_defaults_are_those_of_the_schema():
    config = parse(BASE)
    for field in SCHEMA:
        ((name, about),) = field.items()
        if "default" in about:
            assert getattr(config, name) == about["default"]
    assert config.issuers == ("main",)
    assert config.claims == ()


@pytest.mark.parametrize(
    ("raw", "field", "value"),
    [
        ({"claims": []}, "claims", ()),  # an empty Lua table
        ({"claims": {}}, "claims", ()),
        ({"claims": None}, "claims", ()),
        ({"mode": None, "ttl": None, "audience": None, "forward_token": None}, "ttl", 60),
        ({"ttl": 120.0}, "ttl", 120),
        ({"ttl": 5}, "reuse_for", 5),
        ({"ttl": 3600, "reuse_for": 3600}, "reuse_for", 3600),
        ({"reuse_for": 0}, "reuse_for", 0),
        ({"claims": {"tier": "t", "a": "b"}}, "claims", (("a", "b"), ("tier", "t"))),
        (
            {"claims": {"roles": "https://example.com/roles"}},
            "claims",
            (("roles", "https://example.com/roles"),),
        ),
        ({"issuers": ["a", "b"]}, "issuers", ("a", "b")),
        ({"mode": "optional"}, "mode", "optional"),
        ({"fail": "open"}, "fail", "open"),
        ({"forward_token": False}, "forward_token", False),
    ],
    ids=str,
)
def test_taken(raw, field, value):
    assert getattr(parse(BASE | raw), field) == value


@pytest.mark.parametrize(
    ("raw", "field"),
    [
        ({"issuers": []}, "issuers"),
        ({"issuers": {}}, "issuers"),
        ({"issuers": None}, "issuers"),
        ({"issuers": "main"}, "issuers"),
        ({"issuers": [1]}, "issuers"),
        ({"issuers": [""]}, "issuers"),
        ({"issuers": ["../x"]}, "issuers"),
        ({"issuers": ["a", "a"]}, "issuers"),
        ({"mode": "maybe"}, "mode"),
        ({"mode": ["required"]}, "mode"),
        ({"fail": "ajar"}, "fail"),
        ({"audience": ""}, "audience"),
        ({"audience": 1}, "audience"),
        ({"audience": "a\nb"}, "audience"),
        ({"ttl": 4}, "ttl"),
        ({"ttl": 3601}, "ttl"),
        ({"ttl": "60"}, "ttl"),
        ({"ttl": True}, "ttl"),
        ({"ttl": 60.5}, "ttl"),
        ({"ttl": float("nan")}, "ttl"),
        ({"ttl": float("inf")}, "ttl"),
        ({"ttl": 30, "reuse_for": 31}, "reuse_for"),
        ({"reuse_for": -1}, "reuse_for"),
        ({"claims": ["a"]}, "claims"),
        ({"claims": {"a": 1}}, "claims.a"),
        ({"claims": {"a": ""}}, "claims.a"),
        ({"claims": {"": "a"}}, "claims"),
        ({"claims": {"a b": "a"}}, "claims"),
        ({"forward_token": 1}, "forward_token"),
        ({"jwks": {"keys": []}}, "jwks"),
    ],
    ids=str,
)
def test_refused(raw, field):
    with pytest.raises(ValueError, match=f"^{field}: "):
        parse(BASE | raw)


@pytest.mark.parametrize("claim", sorted(RESERVED_CLAIMS))
def test_the_gateways_own_claims(claim):
    with pytest.raises(ValueError, match=rf"^claims\.{claim}: "):
        parse(BASE | {"claims": {claim: "x"}})


def test_the_registry_names_the_plugin_and_drops_kongs_own_keys():
    assert parse_config("passport", BASE | {"__key__": "x"}) == parse(BASE)
    with pytest.raises(ValueError, match=r"^passport: ttl: "):
        parse_config("passport", BASE | {"ttl": 1})


@pytest.mark.parametrize("change", [{"audience": "b"}, {"ttl": 30}, {"reuse_for": 1}, {"claims": {"a": "b"}}])
def test_cache_key_tells_passports_apart(change):
    assert parse(BASE | change).cache_key != parse(BASE).cache_key
    assert parse({"issuers": ["other"]}).cache_key == parse(BASE).cache_key


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from([next(iter(field)) for field in SCHEMA]), JSON))
def test_anything_else_is_a_value_error(raw):
    try:
        said = hash(parse(raw)) and ""
    except ValueError as error:
        said = str(error)
    assert not said or re.split(r"[:.]", said)[0] in {next(iter(field)) for field in SCHEMA}
