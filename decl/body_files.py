"""Prepared answers whose body is a file: `file: PATH` of static-fallback, and what is checked once it was read.

The path starts from the YAML file that names it. The file is read as late as `body: !file PATH` is (decl.late), so
what depends on its content - size, placeholders - is checked there and not while validating.
"""

from __future__ import annotations

import os.path
from collections.abc import Iterator, Mapping
from typing import Any

from decl import plugin_sources
from decl.findings import Path
from decl.late import Late, Resolver
from decl.source import Sources

MAX_BYTES = 2_000_000
"""All bodies of one cluster (the lint rule fallback-size, which cannot see what is read late)."""
_PLUGIN = "static-fallback"


def refer(document: dict[str, Any], sources: Sources) -> bool:
    """Make each `file: PATH` of a prepared answer a reference that is read late, in place; whether there was one."""
    found = False
    for path, response in _responses(document, ()):
        name = response.get("file")
        if isinstance(name, str) and not isinstance(name, Late):
            place = sources.place((*path, "file"))
            response["file"] = Late("file", name, os.path.dirname(place.file))
            found = True
        found = found or isinstance(name, Late)
    return found


def with_bodies(document: Mapping[str, Any], resolver: Resolver) -> dict[str, Any]:
    """A copy of a rendered document with the files of prepared answers read, as plain text: every client is shown
    them, so nothing need hide them.

    Raises ValueError for a file that cannot be read, where the gate would refuse a config then, and where all bodies
    together are too large.
    """
    made = {**document}
    total = 0
    for kind in ("services", "routes"):
        if kind in made:
            made[kind] = [_entity(kind, entity, resolver) for entity in made[kind]]
    if "plugins" in made:
        made["plugins"] = [_plugin(plugin, resolver) for plugin in made["plugins"]]
    for plugin in _plugins(made):
        if plugin.get("name") == _PLUGIN:
            for response in plugin["config"].get("responses") or ():
                total += len(str(response.get("body") or "").encode("utf-8", "surrogatepass"))
    if total > MAX_BYTES:
        raise ValueError(f"{_PLUGIN}: the prepared answers have {total} bytes, {MAX_BYTES} are allowed")
    return made


def has_late(value: Any) -> bool:
    """Whether a reference is left anywhere in a value."""
    if isinstance(value, Mapping):
        return any(has_late(item) for item in value.values())
    if isinstance(value, list | tuple):
        return any(has_late(item) for item in value)
    return isinstance(value, Late)


def _entity(kind: str, entity: dict[str, Any], resolver: Resolver) -> dict[str, Any]:
    made = {**entity}
    if "plugins" in made:
        try:
            made["plugins"] = [_plugin(plugin, resolver) for plugin in made["plugins"]]
        except ValueError as error:
            raise ValueError(f"{kind[:-1]} {entity.get('name', entity.get('id'))!r}: {error}") from error
    if "routes" in made:
        made["routes"] = [_entity("routes", route, resolver) for route in made["routes"]]
    return made


def _plugin(plugin: dict[str, Any], resolver: Resolver) -> dict[str, Any]:
    config = plugin.get("config")
    if plugin.get("name") != _PLUGIN or not isinstance(config, Mapping):
        return plugin
    responses = config.get("responses") or ()
    if not any(isinstance(each.get("body"), Late) for each in responses):
        return plugin
    read = [
        {**each, "body": str.__str__(resolver.text(each["body"]))}
        if isinstance(each.get("body"), Late)
        else each
        for each in responses
    ]
    made = {**config, "responses": read}
    wrong = plugin_sources.check(_PLUGIN, made)
    if wrong is not None:
        raise ValueError(f"{_PLUGIN}: {wrong}")
    return {**plugin, "config": made}


def _responses(value: Any, path: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            if key == "responses" and isinstance(item, list):
                for index, each in enumerate(item):
                    if isinstance(each, dict):
                        yield (*path, key, index), each
            else:
                yield from _responses(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _responses(item, (*path, index))


def _plugins(document: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    yield from document.get("plugins") or ()
    for kind in ("services", "routes"):
        for entity in document.get(kind) or ():
            yield from _plugins(entity)
