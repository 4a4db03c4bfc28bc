"""Compare a rendered config with the live nodes of a cluster, whatever its mode.

DB-less: one GET /status a node and a compare of hashes; entities are read only where the hash differs. With a
database: all lists in parallel, from the first node that answers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import NamedTuple

from decl.adapter import NAMES
from decl.admin import AdminClient, AdminError
from decl.change import Diff
from decl.diff import diff
from decl.flatten import Flat, flatten
from decl.kinds import KINDS
from decl.live import foreign_children, read_foreign, read_live, schemas_of
from decl.masking import secrets_in
from decl.plan import live_digest
from decl.render import Rendered
from decl.server_schema import Schemas

DB = "db"
"""Names the database in what is kept by node."""

Last = Callable[[], Flat | None]
"""Gives what was applied last; asked only when something differs."""


class Seen(NamedTuple):
    """What was found. base: the hash of each node, or the digest of the database. diffs: for the nodes that have
    the same other config one diff. away: nodes that could not be asked, and why.

    client, schemas and live are for applying in DB mode.
    """

    base: Mapping[str, str]
    diffs: Sequence[tuple[Sequence[str], Diff]]
    away: Mapping[str, str]
    client: AdminClient | None = None
    schemas: Schemas | None = None
    live: Flat | None = None

    @property
    def changes(self) -> bool:
        """Whether any node holds other entities."""
        return any(found.changes or found.conflicts for _, found in self.diffs)

    @property
    def settled(self) -> bool:
        """Whether nothing is to be written. A DB-less node may hold the same entities from other bytes: it gets
        ours, so that one look at its hash tells the next time."""
        if self.client is not None:  # one database: it does not matter which node told it
            return not self.changes
        return not self.away and not self.diffs


def compare_dbless(
    clients: Sequence[AdminClient], rendered: Rendered, last: Last = lambda: None, details: bool = True
) -> Seen:
    """details: read what differs, not only the hashes. Raises AdminError."""
    base: dict[str, str] = {}
    away: dict[str, str] = {}
    with ThreadPoolExecutor(max(len(clients), 1)) as threads:
        for client, found in zip(clients, threads.map(_hash, clients), strict=True):
            if isinstance(found, AdminError):
                away[client.node] = found.reason
            else:
                base[client.node] = found
    groups: dict[str, list[AdminClient]] = {}
    wanted_hash = rendered.hash
    for client in clients:
        held = base.get(client.node)
        if held is not None and held != wanted_hash:
            groups.setdefault(held, []).append(client)
    diffs = []
    wanted = flatten(rendered.document) if groups and details else None
    before = last() if wanted is not None else None
    for same in groups.values():
        names = [client.node for client in same]
        if wanted is None:
            diffs.append((names, Diff()))
            continue
        live = read_live(same[0])
        schemas = schemas_of(same[0])
        diffs.append((names, diff(wanted, live, schemas, before, secrets=secrets_in(wanted))))
    return Seen(base, diffs, away)


def _hash(client: AdminClient) -> str | AdminError:
    try:
        return client.config_hash()
    except AdminError as error:
        return error


def compare_db(
    clients: Sequence[AdminClient],
    wanted: Flat,
    tags: Sequence[str] = (),
    last: Last = lambda: None,
    ignore: Iterable[str] = (),
) -> Seen:
    """Raises AdminError when no node can be asked."""
    away: dict[str, str] = {}
    for client in clients:
        try:
            live = read_live(client, tags)
        except AdminError as error:
            away[client.node] = error.reason
            failed = error
            continue
        schemas = schemas_of(client)
        secrets = secrets_in(wanted)
        before = last()
        found = diff(wanted, live, schemas, before, None, secrets, ignore)
        if tags and found.count("create"):
            foreign = read_foreign(client, found.changes, tags)
            wanted = _without_shared(wanted, foreign, schemas)
            found = diff(wanted, live, schemas, before, foreign, secrets, ignore)
        if tags:
            conflicts = (*found.conflicts, *foreign_children(client, found.changes, tags))
            found = replace(found, conflicts=conflicts)
        return Seen({DB: live_digest(live)}, [([client.node], found)], away, client, schemas, live)
    raise failed


def _without_shared(wanted: Flat, foreign: Flat, schemas: Schemas) -> Flat:
    """The adapter is one for all owners of a database: where another owner's is what we want, it is not ours."""
    shared = {
        entity_id
        for entity_id, entity in wanted["plugins"].items()
        if entity["name"] in NAMES
        and not any(entity.get(field) for field in KINDS["plugins"].refs)
        and entity_id in foreign["plugins"]
        and schemas.filled("plugins", entity).get("config")
        == schemas.sendable("plugins", foreign["plugins"][entity_id]).get("config")
    }
    for entity_id in shared:
        del foreign["plugins"][entity_id]
    kept = {entity_id: entity for entity_id, entity in wanted["plugins"].items() if entity_id not in shared}
    return {**wanted, "plugins": kept}


def planes_follow(
    client: AdminClient,
    before: Mapping[str, str],
    changed: bool,
    wait: float,
    now: Callable[[], float],
    sleep: Callable[[float], None],
    settle: float = 0.0,
) -> str | None:
    """Hybrid mode: wait until all data planes tell the same hash, another than before if something was changed.

    before: data plane -> hash. wait and settle are seconds. What is wrong, None when all follow.

    settle: so long after the last write no hash is believed. A control plane sends what there is after the first
    write, sleeps for its db_update_frequency and then sends the rest (push_config_loop in
    kong/clustering/control_plane.lua): in between all planes agree on half of a config.
    """
    settled = now() + (settle if changed else 0.0)
    end = settled + wait
    while True:
        hashes = data_planes(client)
        one = set(hashes.values())
        new = not changed or not before or not one & set(before.values())
        if len(one) <= 1 and new and now() >= settled:
            return None
        if now() >= end:
            told = ", ".join(f"{name} has {value}" for name, value in sorted(hashes.items()))
            return f"after {wait:g} s not all data planes have the new config: {told}"
        sleep(0.2)


def data_planes(client: AdminClient) -> dict[str, str]:
    """The hash of each data plane that the control plane has seen lately. Raises AdminError."""
    rows = client.pages("/clustering/data-planes")
    newest = max((int(row.get("last_seen") or 0) for row in rows), default=0)
    return {
        f"{row.get('hostname')} ({str(row.get('id'))[:8]})": str(row.get("config_hash"))
        for row in rows
        # planes that are gone stay in the list for days
        if int(row.get("last_seen") or 0) >= newest - 120
    }
