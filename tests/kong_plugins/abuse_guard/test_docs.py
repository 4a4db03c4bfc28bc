"""What docs/abuse.md shows is what the plugin takes, and it names all that is there."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from cli.main import main
from decl import plugin_sources
from kong_plugins.abuse_guard import scenario_config, shipped
from kong_plugins.abuse_guard.config import parse
from kong_plugins.abuse_guard.refusals import OWN_REFUSALS

TEXT = (Path(__file__).parents[3] / "docs" / "abuse.md").read_text()
EXAMPLE = Path(__file__).parents[3] / "examples" / "abuse" / "gateway.yaml"
LIMITS, SCENARIOS = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)


def test_the_examples_are_taken() -> None:
    (plugin,) = yaml.safe_load(LIMITS)["plugins"]
    config: dict[str, Any] = {**plugin["config"], **yaml.safe_load(SCENARIOS)}
    parsed = parse(config)
    assert [limit.name for limit in parsed.stranger.local] == ["per-ip"]
    assert [limit.name for limit in parsed.stranger.strict] == ["login"]
    assert [limit.name for limit in parsed.stranger.dry] == ["try-this"]
    assert [limit.name for limit in parsed.identified.local] == ["per-user"]
    assert parsed.sent_headers == {"x-device"}
    assert plugin_sources.check("abuse-guard", config) is None


@pytest.mark.parametrize("name", shipped.SCENARIOS)
def test_every_shipped_scenario_is_described_with_its_threshold(name: str) -> None:
    (row,) = [line for line in TEXT.splitlines() if line.startswith(f"| `{name}`")]
    scenario = shipped.SCENARIOS[name]
    assert re.search(rf"\b{scenario['capacity']}\b", row)
    assert ("lock" in row) == ("block" in scenario["then"] or name == "error-storm")


def test_every_reason_and_field_is_described() -> None:
    for reason in (*OWN_REFUSALS, "rate_limited", "ip_unreadable"):
        assert f"`{reason}`" in TEXT
    for entry in scenario_config.SCHEMA["elements"]["fields"]:
        (field,) = entry
        assert re.search(rf"\b{field}\b", TEXT), field


@pytest.mark.parametrize("command", ["validate", "lint"])
def test_the_example_has_no_findings(command: str) -> None:
    result = CliRunner().invoke(main, ["-f", str(EXAMPLE), command], prog_name="kgate")
    assert (result.exit_code, result.stdout) == (0, "no findings\n")


def test_the_example_shows_every_shipped_scenario() -> None:
    text = EXAMPLE.read_text()
    assert [name for name in shipped.SCENARIOS if f"use: {name}" not in text] == []
