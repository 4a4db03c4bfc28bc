"""The example of docs/fallback.md has no findings and renders."""

from pathlib import Path

from decl.load import Text
from decl.project import open_project
from decl.render import render

EXAMPLE = Path(__file__).parents[3] / "examples" / "fallback" / "gateway.yaml"


def test_it_renders_without_findings() -> None:
    project = open_project([Text("gateway.yaml", EXAMPLE.read_bytes())], {})
    assert project.findings == ()
    services = {each["name"]: each for each in render(project.gateway, "main").document["services"]}
    assert services["menu"]["plugins"][0]["config"]["retry_budget"] == 20
    assert services["orders"]["retries"] == 0
