"""Ask a live node whether it would take each entity: `POST /schemas/<entity>/validate`.

It works on DB-less nodes too and changes nothing. Kong checks one entity by its schema there, custom Lua checks
included, but neither names nor references: those are checked offline.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from decl.findings import Path, Problem
from decl.flatten import flatten
from decl.http import Answer
from decl.kinds import KINDS
from decl.masking import masked, secrets_in
from decl.render import Rendered

Check = Callable[[str, Mapping[str, Any]], Answer]
"""Asks a node about an entity of a kind (AdminClient.check). Raises decl.admin.AdminError."""

WORKERS = 8


def validate_online(rendered: Rendered, check: Check, workers: int = WORKERS) -> list[Problem]:
    """What the node finds wrong in a resolved config, each at the place in the files."""
    flat = flatten(rendered.document)
    secrets = secrets_in(flat)
    entities = [(kind, key, entity) for kind, found in flat.items() for key, entity in found.items()]

    def one(item: tuple[str, str, Mapping[str, Any]]) -> list[Problem]:
        kind, entity_id, entity = item
        answer = check(kind, entity)
        if answer.status == 200:
            return []
        origin = rendered.origins.get(entity_id, ())
        label = f"{KINDS[kind].singular} {_name(entity)!r}"
        found = list(_messages(answer.fields().get("fields"), ())) or [((), _whole(answer))]
        return [_problem(label, origin, path, masked(text, secrets)) for path, text in found]

    with ThreadPoolExecutor(workers) as threads:
        return [problem for found in threads.map(one, entities) for problem in found]


def _name(entity: Mapping[str, Any]) -> Any:
    return entity.get("name") or entity.get("username") or entity.get("target") or entity.get("id")


def _whole(answer: Answer) -> str:
    message = str(answer.fields()["message"])
    # Kong's own code fails on some (rate-limiting with `policy: redis` and no redis), and then on a write too
    return f"the node fails on it (HTTP {answer.status}): {message}" if answer.status == 500 else message


def _problem(label: str, origin: Path, path: Path, message: str) -> Problem:
    field = ".".join(map(str, path))
    return Problem((*origin, *path), "kong", f"{label}: {field + ': ' if field else ''}{message}")


def _messages(value: Any, path: Path) -> Iterator[tuple[Path, str]]:
    """Kong nests its messages as the fields are nested, with null for what is right in a list; `@entity` is a list of
    messages about the whole."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, Mapping):
        for name, item in value.items():
            if name == "@entity":
                for message in item if isinstance(item, list) else [item]:
                    yield path, str(message)
            else:
                yield from _messages(item, (*path, name))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _messages(item, (*path, index))
