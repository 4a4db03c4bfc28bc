"""Entities that kgate passes on as they are: certificates, names, vaults, keys, consumer groups."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import Any

from decl.file_kinds import CHILDREN, KINDS, PLAIN
from decl.findings import Path
from decl.model import Item, Plugin
from decl.walk import reference

_DROPPED = frozenset(("_comment", "_ignore", "created_at", "updated_at", "tags"))

Document = Mapping[str, Any]


def build_items(document: Document, tags: tuple[str, ...]) -> tuple[Item, ...]:
    """All such entities of a document; one that names its parent stands in that parent.

    tags: what `_info.select_tags` adds to each.
    """
    loose: dict[tuple[str, str], list[tuple[Path, Document]]] = defaultdict(list)
    top: list[tuple[str, Path, Document]] = []
    for kind in PLAIN:
        for index, values in enumerate(document.get(kind, ())):
            if not values:
                continue
            path: Path = (kind, index)
            parent = next(
                (
                    (above, name)
                    for above, field in KINDS[kind].parents
                    if (name := reference(values.get(field))) is not None
                ),
                None,
            )
            if parent is not None and _is_there(document, *parent):
                loose[kind, parent[1]].append((path, values))
            else:
                top.append((kind, path, values))
    return tuple(_item(kind, path, values, tags, loose, nested=False) for kind, path, values in top)


def _is_there(document: Document, kind: str, name: str) -> bool:
    return any(name in (item.get("id"), item.get("name")) for item in document.get(kind, ()) if item)


def _item(
    kind: str,
    path: Path,
    values: Document,
    tags: tuple[str, ...],
    loose: Mapping[tuple[str, str], list[tuple[Path, Document]]],
    nested: bool,
) -> Item:
    children = {}
    known = [values[key] for key in KINDS[kind].keys if isinstance(values.get(key), str)]
    for child in CHILDREN.get(kind, ()):
        if child in PLAIN:
            below = [((*path, child, index), item) for index, item in enumerate(values.get(child, ()))]
            below += [found for name in known for found in loose.get((child, name), ())]
            children[child] = tuple(_item(child, at, item, tags, loose, nested=True) for at, item in below)
    own = {name: value for name, value in values.items() if name not in _DROPPED and name not in children}
    parents = {field for _, field in KINDS[kind].parents}
    if nested:  # Kong refuses a nested child that names its parent
        own = {name: value for name, value in own.items() if name not in parents}
    plugins = tuple(_plugins(path, own.pop("plugins", ()))) if kind == "consumer_groups" else ()
    joined = tuple(dict.fromkeys((*values.get("tags", ()), *tags)))
    return Item(kind, _name(kind, values, children), path, own, children, plugins, joined)


def _plugins(path: Path, items: Iterable[Document]) -> Iterable[Plugin]:
    for index, values in enumerate(items):
        fields = {name: value for name, value in values.items() if name not in ("name", "config", "_comment")}
        yield Plugin(values["name"], (*path, "plugins", index), values.get("config", {}), fields)


def _name(kind: str, values: Document, children: Mapping[str, tuple[Item, ...]]) -> str:
    """What tells it from others and stays: Kong has no rule for certificates and would draw a random id."""
    if kind == "certificates":
        names = sorted(item.name for item in children.get("snis", ()))
        return f"sni:{names[0]}" if names else f"cert:{sha256(str(values['cert']).encode()).hexdigest()}"
    if kind == "ca_certificates":
        return f"cert:{sha256(str(values['cert']).encode()).hexdigest()}"
    if kind == "vaults":
        return f"vaults:*:{values['prefix']}"
    if kind == "keys":
        return str(values.get("name") or f"kid:{values['kid']}")
    if kind == "key_sets":
        return str(values.get("name") or values.get("id") or "")
    return str(values["name"])
