"""Overlays: files of an environment, merged over the others by name.

An overlay has the form of any file, with only what differs in it:

    services:
    - name: checkout
      url: http://checkout.prod.internal:8080
      plugins:
      - {name: rate-limiting, config: {minute: 600}}

Entities are found again by their name (a plugin by its name and scope, a target by its address) and get the
overlay's fields; maps are merged, lists of plain values replaced, and `null` takes a field away. What is not
there yet is added.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from decl.file_kinds import CHILDREN, CREDENTIALS
from decl.findings import Path
from decl.source import Part, SourceFile
from decl.walk import reference

_SCOPES = ("service", "route", "consumer")
_IDENTITY = {"consumers": "username", "targets": "target", "vaults": "prefix", "keys": "kid", **CREDENTIALS}


def overlay(document: dict[str, Any], values: Mapping[str, Any], file: SourceFile) -> tuple[Part, ...]:
    """Merge one overlay into a document (in place); gives the places of what came from it."""
    return tuple(_merge(document, values, "", (), (), file))


def _merge(
    base: dict[str, Any], over: Mapping[str, Any], kind: str, at: Path, local: Path, file: SourceFile
) -> Iterator[Part]:
    for field, value in over.items():
        if field in CHILDREN.get(kind, ()) and isinstance(value, list):
            yield from _merge_list(base, field, value, at, local, file)
        elif value is None:
            base.pop(field, None)
        else:
            base[field] = _merged(base.get(field), value, keep_null=field == "config")
            if kind == "":
                yield Part((field,), file, (field,))


def _merge_list(
    base: dict[str, Any], kind: str, items: list[Any], at: Path, local: Path, file: SourceFile
) -> Iterator[Part]:
    known = base.get(kind)
    if not isinstance(known, list):
        known = base[kind] = []
    by_key = {key: index for index, item in enumerate(known) if (key := _identity(kind, item)) is not None}
    for number, item in enumerate(items):
        index = by_key.get(_identity(kind, item) or "")
        here: Path = (*local, kind, number)
        if index is None or not isinstance(item, dict):
            yield Part((*at, kind, len(known)), file, here, whole=True)
            known.append(_without_null(item))
        else:
            path = (*at, kind, index)
            yield Part(path, file, here)
            # the base's values may be shared with an anchor's other places: never change them in place
            known[index] = dict(known[index])
            for child in CHILDREN.get(kind, ()):
                if child in known[index]:
                    known[index][child] = list(known[index][child])
            yield from _merge(known[index], item, kind, path, here, file)


def _identity(kind: str, item: Any) -> str | None:
    if not isinstance(item, dict):
        return None
    name = item.get(_IDENTITY.get(kind, "name")) or item.get("id") or item.get("custom_id")
    if not isinstance(name, str):
        return None
    if kind == "plugins":
        return "\0".join((name, *(reference(item.get(scope)) or "" for scope in _SCOPES)))
    return name


def _merged(base: Any, over: Any, keep_null: bool) -> Any:
    if not isinstance(over, dict):
        return over
    result = dict(base) if isinstance(base, dict) else {}
    for name, value in over.items():
        if value is None and not keep_null:
            result.pop(name, None)
        else:
            result[name] = _merged(result.get(name), value, keep_null)
    return result


def _without_null(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            name: item if name == "config" else _without_null(item)
            for name, item in value.items()
            if item is not None
        }
    if isinstance(value, list):
        return [_without_null(item) for item in value]
    return value
