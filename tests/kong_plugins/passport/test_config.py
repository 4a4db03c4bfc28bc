"""Passport's config as Kong may send it."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kong_plugins.engine.registry import parse_config
from kong_plugins.passport.config import RESERVED_CLAIMS, SCHEMA, header_names, parse

BASE = {"issuers": ["main"]}
AUTHORIZATION = ("authorization", "authorization")


def test_defaults_are_those_of_the_schema():
    config = parse(BASE)
    for field in SCHEMA:
        ((name, about),) = field.items()
        if "default" in about:
            found = getattr(config, name)
            assert (list(found) if isinstance(found, tuple) else found) == about["default"]
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
        ({"mode": "jwks", "issuers": None}, "issuers", ()),
        ({"mode": "jwks", "issuers": []}, "issuers", ()),
        ({"mode": "optional", "anonymous": "passport"}, "anonymous_passport", True),
        ({"profile": "txn-token"}, "header", "Txn-Token"),
        ({"profile": "txn-token"}, "reuse_for", 0),
        ({"profile": "txn-token", "reuse_for": 5}, "reuse_for", 5),
        ({"profile": "txn-token", "header": "X-Txn"}, "header", "X-Txn"),
        ({"token_from": ["cookie:sid"]}, "places", (("cookie", "sid"),)),
        (
            {"token_from": ["header:X-Token", "authorization"]},
            "places",
            (("header", "x-token"), ("authorization",) * 2),
        ),
        (
            {"device": "claim:https://example.com/device"},
            "device_place",
            ("claim", "https://example.com/device"),
        ),
        ({"device": "header:X-Device"}, "device_place", ("header", "x-device")),
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
        ({"anonymous": "passport"}, "anonymous"),
        ({"anonymous": "yes", "mode": "optional"}, "anonymous"),
        ({"profile": "jwt"}, "profile"),
        ({"header": ""}, "header"),
        ({"header": "X_Passport"}, "header"),
        ({"header": "Authorization"}, "header"),
        ({"header": "x-forwarded-for"}, "header"),
        ({"header": "X-A\r\nX-B"}, "header"),
        ({"header": "X-Token", "token_from": ["header:X-Token"]}, "header"),
        ({"token_from": []}, "token_from"),
        ({"token_from": "authorization"}, "token_from"),
        ({"token_from": ["query:jwt"]}, "token_from"),
        ({"token_from": ["header:Host"]}, "token_from"),
        ({"token_from": ["header:"]}, "token_from"),
        ({"token_from": ["cookie:a b"]}, "token_from"),
        ({"token_from": ["claim:a"]}, "token_from"),
        ({"token_from": ["header:X-A", "header:x-a"]}, "token_from"),
        ({"token_from": ["authorization"] * 2}, "token_from"),
        ({"token_from": [f"cookie:c{n}" for n in range(5)]}, "token_from"),
        ({"token_from": [1]}, "token_from"),
        ({"device": "X-Device"}, "device"),
        ({"device": 1}, "device"),
        ({"device": "authorization"}, "device"),
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


def test_the_headers_that_the_adapter_must_know_of():
    config = parse(BASE | {"token_from": ["authorization", "cookie:a", "header:X-T"], "device": "header:X-D"})
    assert header_names(config) == (("authorization", "cookie", "x-d", "x-t"), "X-Passport")
    assert header_names(parse(BASE | {"device": "claim:d"})) == (("authorization",), "X-Passport")


@pytest.mark.parametrize(
    "change",
    [
        {"profile": "txn-token", "reuse_for": 10},
        {"audience": "b"},
        {"ttl": 30},
        {"reuse_for": 1},
        {"claims": {"a": "b"}},
    ],
)
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
