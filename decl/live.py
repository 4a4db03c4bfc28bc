"""Read what a live Kong holds: all kinds in parallel, in pages of 1000, picked by tag on the server."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import quote

from decl.admin import AdminClient, AdminError, GoneError
from decl.change import LOCK_NAME, Change
from decl.flatten import Flat, name_of
from decl.kinds import CHILDREN, KINDS
from decl.server_schema import Schemas

WORKERS = 8


def read_live(client: AdminClient, tags: Sequence[str] = (), workers: int = WORKERS) -> Flat:
    """The entities of a node; with tags only those that have all of them. Raises AdminError.

    A kind that the node does not know (its plugin is not enabled) has none. The tags of targets are looked at
    here: Kong does not pick by tag below an upstream.
    """
    flat: Flat = {kind: {} for kind in KINDS}
    with ThreadPoolExecutor(workers) as threads:
        kinds = [kind for kind in KINDS if KINDS[kind].path]
        lists = list(threads.map(lambda kind: _all(client, f"/{KINDS[kind].path}", tags), kinds))
        for kind, items in zip(kinds, lists, strict=True):
            flat[kind] = {item["id"]: item for item in items if item.get("name") != LOCK_NAME}
        below = threads.map(
            lambda upstream: _all(client, f"/upstreams/{upstream}/targets", ()), list(flat["upstreams"])
        )
        for items in below:
            for item in items:
                if has_all(item, tags):
                    flat["targets"][item["id"]] = item
    return flat


def _all(client: AdminClient, path: str, tags: Sequence[str]) -> list[dict[str, Any]]:
    try:
        return client.pages(path, tags)
    except GoneError:
        return []
    except AdminError as error:
        if error.status != 500 or client.mode() != "dbless":
            raise
        if tags:  # Kong 3.9.3 without a database fails when an entity of the page has no tags
            return [item for item in _all(client, path, ()) if has_all(item, tags)]
        if path == _KEYS:  # and when a key has a ttl (see decl.validate.without_database)
            return []
        raise


_KEYS = f"/{KINDS['keyauth_credentials'].path}"


def has_all(entity: Mapping[str, Any], tags: Sequence[str]) -> bool:
    """Whether an entity has all of the tags."""
    return all(tag in (entity.get("tags") or ()) for tag in tags)


def read_foreign(
    client: AdminClient, changes: Iterable[Change], tags: Sequence[str], workers: int = WORKERS
) -> Flat:
    """Of the entities that are to be created, those that are there and belong to another owner: their id or
    name is taken, and they lack one of the tags."""
    wanted = [change for change in changes if change.action == "create" and KINDS[change.kind].path]
    flat: Flat = {kind: {} for kind in KINDS}

    def look(change: Change) -> tuple[str, dict[str, Any]] | None:
        path = f"/{KINDS[change.kind].path}/"
        for key in (change.id, _name(change)):
            if key:
                try:
                    return change.kind, client.get(path + quote(key, safe=""))
                except GoneError:
                    pass
        return None

    with ThreadPoolExecutor(workers) as threads:
        for found in threads.map(look, wanted):
            if found is not None and not has_all(found[1], tags):
                flat[found[0]][found[1]["id"]] = found[1]
    return flat


def foreign_children(
    client: AdminClient, changes: Iterable[Change], tags: Sequence[str], workers: int = WORKERS
) -> list[str]:
    """What would go with the entities that are to be deleted (Kong deletes on their own what refers to them), and
    belongs to another owner; one sentence for each."""
    paths = []
    for change in changes:
        if change.action == "delete":
            for child in CHILDREN[change.kind]:
                below = KINDS[child].path or "targets"
                nested = below.removesuffix("s") if child in _NESTED_SINGULAR else below
                paths.append((change, child, f"/{KINDS[change.kind].path}/{change.id}/{nested}"))
    found = []
    with ThreadPoolExecutor(workers) as threads:
        lists = threads.map(lambda item: _all(client, item[2], ()), paths)
        for (change, child, _), items in zip(paths, lists, strict=True):
            for item in items:
                if not has_all(item, tags):
                    found.append(
                        f"{KINDS[child].singular} {name_of(child, item)} belongs to another owner, and would go "
                        f"with {KINDS[change.kind].singular} {change.name}"
                    )
    return found


def without_tags(client: AdminClient, flat: Flat, tags: Sequence[str]) -> list[str]:
    """Plugins and targets of the entities that were picked by tags, which lack the tags themselves; by their names.
    Raises AdminError."""
    below = [(kind, item) for kind in ("plugins", "targets") for item in _below(client, flat, kind)]
    return [
        f"{KINDS[kind].singular} {name_of(kind, item, flat)}"
        for kind, item in below
        if not has_all(item, tags)
    ]


def _below(client: AdminClient, flat: Flat, kind: str) -> list[dict[str, Any]]:
    if kind == "targets":
        return [item for key in flat["upstreams"] for item in _all(client, f"/upstreams/{key}/targets", ())]
    scopes = {"service": "services", "route": "routes", "consumer": "consumers"}
    return [
        plugin
        for plugin in _all(client, "/plugins", ())
        if any((plugin.get(field) or {}).get("id") in flat[parent] for field, parent in scopes.items())
    ]


_NESTED_SINGULAR = ("keyauth_credentials", "jwt_secrets", "basicauth_credentials", "hmacauth_credentials")


def _name(change: Change) -> str | None:
    if change.kind not in ("services", "routes", "upstreams", "consumers"):
        return None
    value = (change.body or {}).get("username" if change.kind == "consumers" else "name")
    return value if isinstance(value, str) else None


def schemas_of(client: AdminClient) -> Schemas:
    """The schemas of a node, each asked for once when it is needed."""
    return Schemas(client.schema)
