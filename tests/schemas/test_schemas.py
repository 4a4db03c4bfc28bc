from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

import schemas


def test_the_gateway_schema_is_a_schema() -> None:
    Draft202012Validator.check_schema(schemas.gateway())


@pytest.mark.parametrize("name", sorted(schemas.PLUGINS))
def test_plugin_schemas_are_strict(name: str) -> None:
    schema = schemas.plugin(name)
    assert schema is not None
    Draft202012Validator.check_schema(schema)
    assert schema["additionalProperties"] is False


def test_every_file_is_listed() -> None:
    folder = Path(schemas.__file__).parent / "plugins"
    assert {path.stem for path in folder.glob("*.json")} == schemas.PLUGINS


def test_an_unknown_plugin_has_none() -> None:
    assert schemas.plugin("../gateway") is None
    assert schemas.plugin("file-log") is None


def test_every_entity_refuses_unknown_fields() -> None:
    for name, schema in schemas.gateway()["$defs"].items():
        if schema.get("properties"):
            assert schema["additionalProperties"] is False, name
