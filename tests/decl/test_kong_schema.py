from typing import Any

import pytest
from jsonschema import Draft202012Validator

from decl.kong_schema import defaults, record

FIELDS: list[dict[str, Any]] = [
    {"fail": {"type": "string", "one_of": ["closed", "open"], "default": "closed", "required": True}},
    {"name": {"type": "string", "required": True}},
    {"note": {"type": "string", "len_min": 0, "len_max": 3, "description": "a note"}},
    {"path": {"type": "string", "starts_with": "/"}},
    {"percent": {"type": "number", "between": [0, 100], "default": 0}},
    {"rate": {"type": "integer", "gt": 0}},
    {"on": {"type": "set", "elements": {"type": "string"}, "len_min": 1}},
    {"headers": {"type": "map", "keys": {"type": "string"}, "values": {"type": "string"}}},
    {
        "redis": {
            "type": "record",
            "required": True,
            "fields": [{"port": {"type": "integer", "default": 6379}}, {"host": {"type": "string"}}],
        }
    },
    {
        "rules": {
            "type": "array",
            "elements": {
                "type": "record",
                "fields": [{"id": {"type": "string", "uuid": True, "required": True}}],
            },
        }
    },
]

UUID = "11111111-2222-4333-8444-555555555555"


@pytest.mark.parametrize(
    ("changes", "valid"),
    [
        ({}, True),
        ({"fail": "open"}, True),
        ({"fail": None}, True),
        ({"fail": "ajar"}, False),
        ({"name": ""}, False),
        ({"name": None}, False),
        ({"note": ""}, True),
        ({"note": "four"}, False),
        ({"path": "/x"}, True),
        ({"path": "x"}, False),
        ({"percent": 100.5}, False),
        ({"percent": True}, False),
        ({"rate": 0}, False),
        ({"rate": 1.5}, False),
        ({"on": []}, False),
        ({"on": ["a", 1]}, False),
        ({"headers": {"a": "b"}}, True),
        ({"headers": {"a": 1}}, False),
        ({"headers": {"": "b"}}, False),
        ({"redis": {"port": None}}, True),
        ({"redis": {"prot": 1}}, False),
        ({"rules": [{"id": UUID}]}, True),
        ({"rules": [{"id": "x"}]}, False),
        ({"rules": [{}]}, False),
        ({"other": 1}, False),
    ],
)
def test_record(changes: dict[str, Any], valid: bool) -> None:
    schema = record(FIELDS)
    Draft202012Validator.check_schema(schema)
    assert schema["required"] == ["name"]
    assert Draft202012Validator(schema).is_valid({"name": "x", **changes}) is valid


def test_a_record_is_required_when_a_field_in_it_is() -> None:
    inner = {"type": "record", "required": True, "fields": [{"a": {"type": "string", "required": True}}]}
    assert record([{"r": inner}])["required"] == ["r"]


def test_defaults() -> None:
    assert defaults(FIELDS) == {"fail": "closed", "percent": 0, "redis": {"port": 6379}}


def test_descriptions_and_defaults_are_kept() -> None:
    properties = record(FIELDS)["properties"]
    assert properties["note"]["description"] == "a note"
    assert properties["percent"]["default"] == 0


@pytest.mark.parametrize("field", [{"type": "foreing"}, {}, {"type": "array", "elements": {"type": "x"}}])
def test_unknown_types_are_named(field: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"^f: type .* is not a Kong type"):
        record([{"f": field}])
