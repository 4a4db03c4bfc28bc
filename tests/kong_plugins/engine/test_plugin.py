"""Plugin info: what Kong needs before it can run a plugin, and the copies of it that Lua reads."""

import json

import pytest
from kong_pdk.module import Module

from kong_plugins.adapter.generate import schema_files
from kong_plugins.engine.plugin import plugin_info, plugin_info_json
from kong_plugins.engine.registry import PLUGINS, parse_config
from kong_plugins.kong_env import ADAPTER_DIR


def test_the_priorities_lie_between_cors_and_jwt_and_are_the_order() -> None:
    priorities = [plugin.priority for plugin in PLUGINS.values()]
    assert priorities == [1905, 1904, 1903, 1902]


@pytest.mark.parametrize("name", PLUGINS)
def test_info_is_a_list_of_one_with_kongs_fields(name: str) -> None:
    (info,) = json.loads(plugin_info_json(name))
    assert info == plugin_info(name)
    assert set(info) == {"Name", "Phases", "Priority", "Version", "Schema"}
    assert info["Phases"] == ["access"]
    fields = {key: value for field in info["Schema"]["fields"] for key, value in field.items()}
    assert fields["consumer"] == {"type": "foreign", "reference": "consumers", "eq": None}
    assert {"fail"} <= {key for field in fields["config"]["fields"] for key in field}


@pytest.mark.parametrize(
    ("path", "text"), schema_files().items(), ids=lambda value: getattr(value, "name", "text")
)
def test_the_lua_schemas_hold_the_same_bytes(path: object, text: str) -> None:
    assert path.read_text() == text, "run: make generated"  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", PLUGINS)
def test_the_stock_module_says_the_same_as_the_plugin_info(name: str) -> None:
    module = Module(name, path=str(ADAPTER_DIR.parent / "stock" / f"{name}.py"))
    info = plugin_info(name)
    assert module.phases == info["Phases"]
    assert (module.priority, module.version) == (info["Priority"], info["Version"])
    config_field = next(field["config"] for field in info["Schema"]["fields"] if "config" in field)
    assert module.schema == config_field["fields"]


def test_only_gate_plugins_have_configs() -> None:
    with pytest.raises(ValueError, match="jwt: not a gate plugin"):
        parse_config("jwt", {})
