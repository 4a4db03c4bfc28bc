"""Schemas: global only for the adapter's two; one JSON for both lanes for the four."""

from __future__ import annotations

import json
import shutil

import pytest
from lupa.luajit21 import LuaError

from kong_plugins.engine.plugin import plugin_info

from .conftest import ADAPTER

FOUR = ["abuse-guard", "passport", "canary-router", "static-fallback"]


def fields_of(schema):
    return {next(iter(field)): next(iter(field.values())) for field in schema["fields"]}


@pytest.mark.parametrize("name", ["kgate", "kgate-facts"])
def test_the_adapter_is_global_only(world, name):
    schema = world.py(world.module(f"{name}.schema")._table)
    fields = fields_of(schema)
    assert schema["name"] == name
    assert {k: fields[k] for k in ("consumer", "route", "service", "protocols")} == {
        "consumer": "no_consumer",
        "route": "no_route",
        "service": "no_service",
        "protocols": "protocols_http",
    }
    config = fields_of(fields["config"])
    assert config["socket"]["default"] == "/run/kgate/express.sock"


def test_defaults(world):
    strip = fields_of(fields_of(world.py(world.module("kgate.schema")._table))["config"])["strip"]
    assert strip["default"] == ["X-Passport", "Txn-Token", "X-Canary", "X-Abuse-Score"]
    headers = fields_of(fields_of(world.py(world.module("kgate-facts.schema")._table))["config"])["headers"]
    assert {"authorization", "origin", "access-control-request-method"} <= set(headers["default"])


@pytest.mark.parametrize("name", FOUR)
def test_the_four_have_the_schema_of_the_pdk_lane(make_world, name):
    schema = make_world("express").py(make_world("express").module(f"{name}.schema")._table)
    fields = fields_of(schema)
    theirs = fields_of(plugin_info(name)["Schema"])
    assert schema["name"] == name
    assert (fields["consumer"], fields["protocols"]) == ("no_consumer", "protocols_http")
    assert [next(iter(f)) for f in fields["config"]["fields"]] == [
        next(iter(f)) for f in theirs["config"]["fields"]
    ]


def copied(make_world, tmp_path, text):
    """The express folder with another schema.json for passport."""
    for folder in ("common", "express"):
        shutil.copytree(ADAPTER / folder, tmp_path / folder)
    target = tmp_path / "express/kong/plugins/passport/schema.json"
    target.unlink() if text is None else target.write_text(text)
    return make_world(path=f"{tmp_path}/common/?.lua;{tmp_path}/express/?.lua")


def test_other_fields_are_kept_and_ours_are_not_doubled(make_world, tmp_path):
    info = {"Name": "passport", "Schema": {"fields": [{"protocols": 1}, {"config": 2}, {"route": 3}]}}
    world = copied(make_world, tmp_path, json.dumps([info]))
    schema = world.py(world.module("passport.schema")._table)
    assert schema["fields"] == [
        {"consumer": "no_consumer"},
        {"protocols": "protocols_http"},
        {"config": 2},
        {"route": 3},
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "the schema of passport is missing"),
        ("[", "does not describe passport"),
        ("[]", "does not describe passport"),
        ('[{"Name": "other"}]', "does not describe passport"),
    ],
)
def test_a_broken_schema_file_is_named(make_world, tmp_path, text, message):
    with pytest.raises(LuaError, match=message):
        copied(make_world, tmp_path, text).module("passport.schema")
