"""Ask a live node whether it would take each entity: `POST /schemas/<entity>/validate`.

It works on DB-less nodes too and changes nothing. Kong checks one entity by its schema there, custom Lua checks
included, but neither names nor references: those are checked offline.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from decl.findings import Path, Problem
from decl.flatten import flatten
from decl.kinds import KINDS
from decl.render import Rendered

Post = Callable[[str, bytes], tuple[int, Mapping[str, Any]]]
"""Sends a body to a path of the Admin API; gives status and JSON answer. Raises decl.admin.AdminError."""

WORKERS = 8
_PARENTS = ("service", "route", "consumer", "upstream", "certificate", "set")


def validate_online(rendered: Rendered, post: Post, workers: int = WORKERS) -> list[Problem]:
    """What the node finds wrong in a resolved config, each at the place in the files."""
    entities = [
        (kind, entity_id, entity)
        for kind, found in flatten(rendered.document).items()
        for entity_id, entity in found.items()
    ]

    def one(item: tuple[str, str, Mapping[str, Any]]) -> list[Problem]:
        kind, entity_id, entity = item
        body = json.dumps(entity, ensure_ascii=False).encode()
        status, answer = post(f"/schemas/{kind}/validate", body)
        if status != 400:
            return []
        origin = rendered.origins.get(entity_id, ())
        return list(_problems(kind, entity, answer, origin))

    with ThreadPoolExecutor(workers) as threads:
        return [problem for found in threads.map(one, entities) for problem in found]


def _problems(
    kind: str, entity: Mapping[str, Any], answer: Mapping[str, Any], origin: Path
) -> Iterator[Problem]:
    fields = answer.get("fields")
    name = entity.get("name") or entity.get("username") or entity.get("target") or entity.get("id")
    label = f"{KINDS[kind].singular} {name!r}"
    found = list(_messages(fields, ())) if isinstance(fields, dict) else []
    for path, message in found or [((), str(answer.get("message", "is refused")))]:
        text = ".".join(map(str, path))
        yield Problem((*origin, *path), "kong", f"{label}: {text + ': ' if text else ''}{message}")


def _messages(value: Any, path: Path) -> Iterator[tuple[Path, str]]:
    """Kong nests its messages as the fields are nested; list places count from 1, `@entity` is the whole."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict):
        for name, item in value.items():
            if name == "@entity":
                yield from _messages(item, path)
            else:
                yield from _messages(item, (*path, name))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            if isinstance(item, str):
                yield path, item
            elif item:
                yield from _messages(item, (*path, index))
