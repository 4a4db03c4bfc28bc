"""One version, and dependencies with bounds."""

from __future__ import annotations

import re
from importlib import metadata
from pathlib import Path

import pytest

from kong_plugins.engine.registry import VERSION
from tests.packaging.lowest import bounds, requirements

ROOT = Path(__file__).parents[2]
LISTED = [(extra, each) for extra, listed in requirements().items() for each in listed]


def test_the_package_has_the_version_of_the_plugins() -> None:
    assert metadata.version("kgate") == VERSION
    assert VERSION not in (ROOT / "pyproject.toml").read_text("utf-8"), "it is read from the registry"


@pytest.mark.parametrize(
    "path", sorted((ROOT / "kong_plugins/adapter").rglob("*.lua")), ids=lambda p: str(p.relative_to(ROOT))
)
def test_the_adapter_has_it_too(path: Path) -> None:
    for found in re.findall(r"VERSION = \"([^\"]+)\"", path.read_text("utf-8")):
        assert found == VERSION


def test_the_changelog_begins_with_it_or_with_what_comes_next() -> None:
    heads = re.findall(r"^## \[?([^\]\s]+)\]?", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    assert heads[0] in ("Unreleased", VERSION)


@pytest.mark.parametrize(("extra", "requirement"), LISTED)
def test_a_dependency_has_bounds(extra: str, requirement: str) -> None:
    if requirement.startswith(("types-", "setuptools")):
        return
    name, low, high = bounds(requirement)
    assert name
    assert low
    assert high, f"{requirement}: a new major version is tried first, then allowed"
