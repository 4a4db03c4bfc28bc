"""Diff: what must be done so that a live Kong holds what the files say. Pure.

Both sides are compared as the server would hold them (decl.server_schema). A live entity of another id that
has the same unique name is the same entity: it keeps its id, and what refers to it follows. That is how a
Kong that another tool filled is adopted without deleting anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from decl.adapter import NAMES
from decl.change import KEEP_TAG, Change, Diff, FieldChange, Side
from decl.flatten import Entity, Flat, each, name_of
from decl.kinds import KINDS
from decl.kong.hashed import is_hashed, is_secret_of, password_hash
from decl.kong.values import full_target
from decl.late import MASK, is_marked
from decl.server_schema import TOLD_ONLY, Schemas, is_surely, same
from decl.unique import find_same, index_of, settled_keys

_NOT_COMPARED = frozenset(("id", "created_at", "updated_at", "ws_id", "cert_digest"))


def diff(
    wanted: Flat,
    live: Flat,
    schemas: Schemas,
    last: Flat | None = None,
    foreign: Flat | None = None,
    secrets: Iterable[str] = (),
    ignore: Iterable[str] = (),
) -> Diff:
    """The changes from live to wanted.

    last: what was applied last, to say which side moved. foreign: live entities of other owners: an entity
    that has the name of one is a conflict. secrets: values that must not be shown. ignore: `kind.field` names
    that are somebody else's business, `routes.tags`.
    """
    return _Differ(wanted, live, schemas, last, foreign or {}, tuple(filter(None, secrets)), ignore).diff()


class _Differ:
    def __init__(
        self,
        wanted: Flat,
        live: Flat,
        schemas: Schemas,
        last: Flat | None,
        foreign: Flat,
        secrets: tuple[str, ...],
        ignore: Iterable[str],
    ) -> None:
        self._wanted, self._live, self._schemas, self._last = wanted, live, schemas, last
        self._foreign, self._secrets, self._ignore = foreign, secrets, frozenset(ignore)
        self._ids: dict[str, str] = {}

    def diff(self) -> Diff:
        changes: list[Change] = []
        conflicts: list[str] = []
        unchanged = 0
        kept: dict[str, set[str]] = {}
        for kind in KINDS:
            index = index_of(kind, self._live.get(kind, {}))
            others = index_of(kind, self._foreign.get(kind, {}))
            seen = kept[kind] = set()
            keys = (
                settled_keys(self._wanted.get(kind, {}), self._live.get(kind, {}))
                if kind == "keyauth_credentials"
                else {}
            )
            for file_id, original in self._wanted.get(kind, {}).items():
                entity = self._repointed(kind, original)
                if file_id in keys:
                    own_id = keys[file_id]
                    held = self._live[kind].get(own_id)
                    if held is None and own_id != file_id:
                        entity = {**entity, "id": own_id}
                        self._ids[file_id] = own_id
                else:
                    held = self._live.get(kind, {}).get(file_id) or find_same(kind, entity, index)
                    if (
                        held is not None
                        and held["id"] != file_id
                        and held["id"] in self._wanted.get(kind, {})
                    ):
                        held = None  # it is another wanted entity, which gives its name away
                if held is None:
                    owner = self._foreign.get(kind, {}).get(file_id) or find_same(kind, entity, others)
                    if owner is not None:
                        tags = ", ".join(owner.get("tags") or ()) or "none"
                        conflicts.append(
                            f"{KINDS[kind].singular} {name_of(kind, owner, self._live)} belongs to another owner "
                            f"(tags: {tags})"
                        )
                        continue
                    changes.append(self._created(kind, entity))
                    continue
                seen.add(held["id"])
                if held["id"] != file_id:
                    self._ids[file_id] = held["id"]
                    entity = {**entity, "id": held["id"]}
                change = self._updated(kind, entity, held, file_id)
                if change is None:
                    unchanged += 1
                else:
                    changes.append(change)
        for kind, entity_id, held in each(self._live):
            if entity_id in kept[kind]:
                continue
            if KEEP_TAG in (held.get("tags") or ()):
                conflicts.append(
                    f"{KINDS[kind].singular} {name_of(kind, held, self._live)} would be deleted and has the "
                    f"tag {KEEP_TAG}"
                )
            changes.append(self._deleted(kind, held))
        count = sum(len(items) for items in self._live.values())
        return Diff(tuple(changes), tuple(conflicts), unchanged, count, self._ids)

    def _repointed(self, kind: str, entity: Entity) -> Entity:
        for name in KINDS[kind].refs:
            value = entity.get(name)
            if isinstance(value, Mapping) and value.get("id") in self._ids:
                entity = {**entity, name: {"id": self._ids[value["id"]]}}
        return entity

    def _created(self, kind: str, entity: Entity) -> Change:
        fields = tuple(self._shown(kind, entity, (name,), None, value) for name, value in _plain(entity))
        moved: Side = ""
        if self._last is not None:
            applied = self._last.get(kind, {})
            if kind == "keyauth_credentials":
                known = any(before.get("key") == entity.get("key") for before in applied.values())
            else:
                known = entity["id"] in applied
            moved = "live" if known else "file"
        name = name_of(kind, entity, self._wanted)
        return Change("create", kind, entity["id"], name, entity, None, fields, moved)

    def _deleted(self, kind: str, held: Entity) -> Change:
        moved: Side = ""
        if self._last is not None:
            moved = "file" if held["id"] in self._last.get(kind, {}) else "live"
        name = name_of(kind, held, self._live)
        return Change("delete", kind, held["id"], name, None, held, (), moved)

    def _updated(self, kind: str, entity: Entity, held: Entity, file_id: str) -> Change | None:
        table = self._schemas.fields(kind, entity)
        if table is not None and is_surely(entity, held, table):
            return None
        wanted = self._as_held(kind, entity, held)
        if kind == "upstreams":
            held = _hashing(held)
        differing = list(self._differing(kind, wanted, held, table))
        if not differing:
            return None
        fields: list[FieldChange] = []
        for name in differing:
            self._descend(
                kind, held, (name,), wanted.get(name), held.get(name), (table or {}).get(name, {}), fields
            )
        name = name_of(kind, held, self._live)
        moved = self._moved(kind, wanted, held, file_id)
        return Change("update", kind, held["id"], name, entity, held, tuple(fields), moved)

    def _as_held(self, kind: str, entity: Entity, held: Entity) -> Entity:
        wanted = self._schemas.filled(kind, entity)
        if kind == "upstreams":
            wanted = _hashing(wanted)
        if kind == "targets":
            wanted["target"] = full_target(wanted["target"])
        password = wanted.get("password")
        if kind == "basicauth_credentials" and isinstance(password, str):
            wanted["password"] = password_hash(password, entity.get("consumer", {}).get("id", ""))
        elif kind == "oauth2_credentials" and is_hashed(kind, wanted) and is_hashed(kind, held):
            secret, told = wanted.get("client_secret"), held.get("client_secret")
            if isinstance(secret, str) and isinstance(told, str) and is_secret_of(secret, told):
                wanted["client_secret"] = told
        return wanted

    def _differing(
        self, kind: str, wanted: Entity, held: Entity, table: Mapping[str, Any] | None
    ) -> Iterable[str]:
        """Names of the fields that differ. Without a schema only what is wanted is looked at."""
        names = dict.fromkeys((*wanted, *held)) if table is not None else wanted
        for name in names:
            if name in _NOT_COMPARED or f"{kind}.{name}" in self._ignore:
                continue
            if name in TOLD_ONLY.get(kind, ()):
                continue
            if name == "tags" and kind == "plugins" and wanted.get("name") in NAMES:
                continue  # the adapter is one for all owners, whoever wrote it
            about = (table or {}).get(name, {})
            if name == "ttl" and _is_running(wanted.get(name), held.get(name)):
                continue
            if name not in wanted and about.get("auto"):
                continue  # the server has drawn it itself
            if table is None and _covers(wanted[name], held.get(name)):
                continue
            if not same(wanted.get(name), held.get(name), about):
                yield name

    def _moved(self, kind: str, wanted: Entity, held: Entity, file_id: str) -> Side:
        if self._last is None:
            return ""
        applied = self._last.get(kind, {})
        before = applied.get(held["id"]) or applied.get(file_id)
        if before is None:
            return "both"
        table = self._schemas.fields(kind, held)
        old = self._as_held(kind, self._repointed(kind, before), held)
        by_file = any(True for _ in self._differing(kind, wanted, old, table))
        by_live = any(True for _ in self._differing(kind, old, held, table))
        return "both" if by_file and by_live else "live" if by_live else "file"

    def _descend(
        self,
        kind: str,
        entity: Entity,
        path: tuple[str, ...],
        new: Any,
        old: Any,
        about: Mapping[str, Any],
        out: list[FieldChange],
    ) -> None:
        """Only what differs, however deep it stands; lists of plain values are one change."""
        if same(new, old, about):
            return
        if isinstance(new, Mapping) and isinstance(old, Mapping) and about.get("type") != "foreign":
            table, inner = about.get("fields") or {}, about.get("values") or {}
            known = self._schemas.fields(kind, entity) is not None
            for name in dict.fromkeys((*new, *old)) if known else new:
                if name in (about.get("shorthand_fields") or {}):
                    continue
                self._descend(
                    kind, entity, (*path, name), new.get(name), old.get(name), table.get(name, inner), out
                )
            return
        if isinstance(new, list) and isinstance(old, list) and len(new) == len(old):
            element = about.get("elements") or {}
            if element.get("type") == "record":
                for index, (a, b) in enumerate(zip(new, old, strict=True)):
                    self._descend(kind, entity, (*path, str(index)), a, b, element, out)
                return
        out.append(self._shown(kind, entity, path, old, new))

    def _shown(self, kind: str, entity: Entity, path: tuple[str, ...], old: Any, new: Any) -> FieldChange:
        secret = is_marked(new) or self._is_secret(kind, entity, path, new, old)
        if not secret:
            old, new, secret = *(self._masked(kind, entity, path, value) for value in (old, new)), False
        return FieldChange(".".join(path), None if secret else old, None if secret else new, secret)

    def _is_secret(self, kind: str, entity: Entity, path: tuple[str, ...], *values: Any) -> bool:
        """`credentials: true` is none."""
        if all(value is None or isinstance(value, bool | int | float) for value in values):
            return False
        return self._schemas.is_secret(kind, entity, path)

    def _masked(self, kind: str, entity: Entity, path: tuple[str, ...], value: Any) -> Any:
        """The value without the secrets in it: below it, or known ones in a text."""
        if isinstance(value, Mapping):
            return {
                name: MASK
                if self._is_secret(kind, entity, (*path, name), item)
                else self._masked(kind, entity, (*path, name), item)
                for name, item in value.items()
            }
        if isinstance(value, list):
            return [self._masked(kind, entity, path, item) for item in value]
        if isinstance(value, str) and (is_marked(value) or any(secret in value for secret in self._secrets)):
            return MASK
        return value


def _covers(wanted: Any, held: Any) -> bool:
    """Whether what is wanted is there, whatever else the server has filled in."""
    if isinstance(wanted, Mapping) and isinstance(held, Mapping):
        return all(_covers(value, held.get(key)) for key, value in wanted.items())
    return same(wanted, held, {})


def _is_running(wanted: Any, held: Any) -> bool:
    """Whether a time to live has begun: Kong tells the seconds that are left (kong/db/strategies/postgres)."""
    return isinstance(wanted, int | float) and isinstance(held, int | float) and held <= wanted


def _hashing(upstream: Entity) -> Entity:
    """An upstream whose algorithm and hash_on fit one another, as Kong makes them fit each time that one is written
    (kong/db/schema/entities/upstreams.lua). A DB-less node keeps consistent-hashing on nothing as it is."""
    algorithm, on = upstream.get("algorithm"), upstream.get("hash_on") or "none"
    if algorithm in ("least-connections", "latency"):
        return {**upstream, "hash_on": "none"}
    return {**upstream, "algorithm": "round-robin" if on == "none" else "consistent-hashing"}


def _plain(entity: Entity) -> Iterable[tuple[str, Any]]:
    return ((name, value) for name, value in entity.items() if name != "id")
