from pathlib import Path

import pytest

import schemas
from decl import plugin_sources
from kong_plugins.engine import registry


def test_every_gate_plugin_has_a_source_form() -> None:
    assert set(plugin_sources.SOURCES) == set(registry.PLUGINS) == set(schemas.GATE_PLUGINS)


@pytest.mark.parametrize("name", schemas.GATE_PLUGINS)
def test_the_stored_schema_is_the_plugins_own(name: str) -> None:
    """Run `python -m decl.plugin_sources` when this fails."""
    stored = Path(schemas.__file__).parent / "plugins" / f"{name}.json"
    assert stored.read_text() == plugin_sources.json_schema_text(name)


def test_static_fallback_is_translated() -> None:
    source = {"responses": [{"on": [502, "timeout"], "json": {"b": 1, "a": []}}]}
    kong = plugin_sources.to_kong("static-fallback", source)
    response = kong["responses"][0]
    assert response["on"] == ["502", "timeout"]
    assert response["body"] == '{"a":[],"b":1}'
    assert plugin_sources.to_kong("static-fallback", kong) == kong


def test_other_plugins_are_left_alone() -> None:
    config = {"anything": [1]}
    assert plugin_sources.to_kong("file-log", config) == config
    assert plugin_sources.check("file-log", config) is None


def test_the_plugins_own_parser_has_the_last_word() -> None:
    message = plugin_sources.check("abuse-guard", {"deny": ["10.0.0.0/99"]})
    assert message is not None
    assert message.startswith("deny[0]: ")
