"""Plugin configs: JSON Schema for the plugins that we know, then the gate plugins' own parsers."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from typing import Any

import schemas
from decl import plugin_sources
from decl.findings import Path, Problem
from decl.validate.schema import Checker, plugin_checker
from decl.walk import Entity

Checkers = Callable[[str], Checker | None]

_ALL = ("grpc", "grpcs", "http", "https", "tcp", "tls", "tls_passthrough", "udp")
"""All protocols; another word is told by the schema of the file."""
_STEP = re.compile(r"([A-Za-z0-9_-]+)|\[(\d+)\]")


def check_plugin_configs(
    entities: Iterable[Entity], checkers: Checkers = plugin_checker
) -> Iterator[Problem]:
    """What is wrong in the configs of all plugins, wherever they stand; checkers: by plugin name."""
    good: set[tuple[str, str]] = set()  # the same config stands on many services
    for entity in entities:
        if entity.kind != "plugins":
            continue
        name, config = entity.text("name") or "", entity.values.get("config", {})
        yield from _protocols(entity, name)
        checker = checkers(name)
        if checker is None or not isinstance(config, dict):
            continue
        key = (name, json.dumps(config, default=str))
        if key in good:
            continue
        path = (*entity.path, "config")
        problems = list(checker.problems(config, path))
        if problems:
            yield from problems
            continue
        message = plugin_sources.check(name, config)
        if message is not None:
            yield Problem(_pointed_at(path, message), "plugin-config", f"{name}: {message}")
        else:
            good.add(key)


def _protocols(entity: Entity, name: str) -> Iterator[Problem]:
    """Protocols that a plugin of Kong's is not for."""
    given, known = entity.values.get("protocols"), _known_protocols(name)
    for index, protocol in enumerate(given if known and isinstance(given, list) else ()):
        if isinstance(protocol, str) and protocol in _ALL and protocol not in known:
            message = f"protocols: {name} takes {', '.join(sorted(known))}, found {protocol!r}"
            yield Problem((*entity.path, "protocols", index), "kong-check", message)


@cache
def _known_protocols(name: str) -> frozenset[str]:
    """What a bundled plugin's schema takes; empty for another plugin."""
    schema = schemas.kong_plugin(name) or {"fields": ()}
    found: dict[str, Any] = next(
        (field["protocols"] for field in schema["fields"] if "protocols" in field), {}
    )
    return frozenset((found.get("elements") or {}).get("one_of") or ())


def _pointed_at(path: Path, message: str) -> Path:
    """The parsers' errors begin with the field, `responses[0].on: ...`: point there."""
    field, colon, _ = message.partition(": ")
    if not colon or not re.fullmatch(r"[A-Za-z0-9_.\[\]-]+", field):
        return path
    steps = tuple(int(index) if index else key for key, index in _STEP.findall(field))
    return (*path, *steps)
