"""The tables of all options in docs/*.md, made of the plugins' schemas and docs/options.yaml."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from kong_plugins.engine.registry import PLUGINS

DOCS = Path(__file__).parents[2] / "docs"
PAGES = {
    "passport": "passport.md",
    "abuse-guard": "abuse.md",
    "canary-router": "canary.md",
    "static-fallback": "fallback.md",
}
BEGIN, END = "<!-- options: made by `make generated` -->", "<!-- end of options -->"


def walk(fields: list[dict[str, Any]], prefix: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every option by its path: `limits[].rate`."""
    for entry in fields:
        ((name, spec),) = entry.items()
        path = f"{prefix}{name}"
        yield path, spec
        yield from _inside(spec, path)


def _inside(spec: Mapping[str, Any], path: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    if spec["type"] == "record":
        yield from walk(spec["fields"], f"{path}.")
    elif spec["type"] in ("array", "set"):
        yield from _inside(spec["elements"], f"{path}[]")
    elif spec["type"] == "map":
        yield from _inside(spec["values"], f"{path}.NAME")


def type_of(spec: Mapping[str, Any]) -> str:
    """The type and its bounds, for people."""
    kind = str(spec["type"])
    if kind in ("array", "set"):
        kind = f"list of {type_of(spec['elements'])}"
    elif kind == "map":
        kind = f"map of {type_of(spec['values'])}"
    elif "one_of" in spec:
        kind = " ".join(f"`{value}`" for value in spec["one_of"])
    elif kind == "record":
        kind = "block"
    if "between" in spec:
        low, high = spec["between"]
        kind += f", {low:g} to {high:g}"
    return kind


def default_of(spec: Mapping[str, Any]) -> str:
    """What holds where the option is not said."""
    if "default" in spec:
        return f"`{json.dumps(spec['default'])}`"
    return "must be said" if spec.get("required") and spec["type"] != "record" else ""


def told() -> dict[str, dict[str, str]]:
    """What docs/options.yaml says, by plugin and path."""
    found: dict[str, dict[str, str]] = yaml.safe_load((DOCS / "options.yaml").read_text("utf-8"))
    return found


def table(plugin: str, words: Mapping[str, str]) -> str:
    """The section of one plugin's page."""
    rows = ["| option | type | default | meaning |", "|---|---|---|---|"]
    for path, spec in walk(PLUGINS[plugin].schema):
        rows.append(f"| `{path}` | {type_of(spec)} | {default_of(spec)} | {words.get(path, '')} |")
    return "\n".join([BEGIN, "", *rows, "", END])


def with_table(text: str, section: str) -> str:
    """The page with its section replaced, or added at its end."""
    if BEGIN not in text:
        return f"{text.rstrip()}\n\n## All options\n\n{section}\n"
    before, rest = text.split(BEGIN)
    return before + section + rest.split(END)[1]


def pages() -> dict[Path, str]:
    """The pages and what they shall hold."""
    words = told()
    return {
        DOCS / page: with_table((DOCS / page).read_text("utf-8"), table(plugin, words[plugin]))
        for plugin, page in PAGES.items()
    }
