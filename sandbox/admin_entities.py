"""The entity end points of the Admin API: reads in both modes, writes where there is a database."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sandbox import admin_pages, admin_paths, db_errors
from sandbox.admin_paths import Place
from sandbox.database import Database, check_key
from sandbox.declarative import Reply
from sandbox.entities import KINDS
from sandbox.ids import is_uuid
from sandbox.store import Entity, Store

_NOT_ALLOWED = {"message": "Method not allowed"}
_VERBS = {"POST": "create", "PUT": "create or update", "PATCH": "update", "DELETE": "remove"}
_COLLECTION, _ENTITY = "GET, HEAD, OPTIONS, POST", "DELETE, GET, HEAD, OPTIONS, PATCH, PUT"


class Entities:
    """Answers requests about entities.

    store: the store in force. database: where writes go, None in DB-less mode. checker: makes a database that
    only checks. changed: called after a write.
    """

    def __init__(
        self,
        store: Callable[[], Store],
        database: Database | None,
        checker: Callable[[Store], Database],
        changed: Callable[[], None],
    ) -> None:
        self._checker = checker
        self._read, self._database, self._changed = store, database, changed

    @property
    def _store(self) -> Store:
        return self._read()

    def answer(
        self, method: str, parts: list[str], query: Mapping[str, str], fields: Callable[[], Any]
    ) -> None:
        """Raises Reply when the path names entities; returns when it does not. fields: reads the body."""
        if parts[0] == "tags" and len(parts) <= 2 and method in ("GET", "HEAD"):
            self._tags(parts, query)
        place = admin_paths.find(parts)
        if place is None:
            return
        if place.kind == "targets" and place.key == "all":
            if method not in ("GET", "HEAD"):
                raise options("GET, HEAD, OPTIONS") if method == "OPTIONS" else Reply(405, _NOT_ALLOWED)
            place = place._replace(key=None)
        one = place.key is not None or place.up
        allowed = _ENTITY if one else _COLLECTION
        if method == "OPTIONS":
            raise options(allowed)
        if method in ("POST", "PUT", "PATCH"):
            fields()  # a body that cannot be read comes first
        if place.up and method == "DELETE":
            self._find(place)
        if method not in allowed.split(", ") or (place.up and method == "DELETE"):
            raise Reply(405, _NOT_ALLOWED)
        if method in ("GET", "HEAD"):
            self._get(parts, place, query)
        if self._database is None:
            self._refuse(method, place, fields)
        self._write(method, place, {} if method == "DELETE" else fields())

    # -- reads ---------------------------------------------------------------------------------------------
    def _get(self, parts: list[str], place: Place, query: Mapping[str, str]) -> None:
        if place.key is not None or place.up:
            raise Reply(200, shown(self._find(place), self._store, place.kind))
        dbless = self._database is None
        if place.owner is None:
            items = self._store.all(place.kind)
            if place.kind == "consumers" and query.get("custom_id"):
                items = [e for e in items if e.get("custom_id") == query["custom_id"]]
        else:
            items = self._store.children(place.kind, place.field, self._owner(place)["id"])
        items = [shown(item, self._store, place.kind) for item in items]
        raise admin_pages.page("/" + "/".join(parts), items, query, dbless, nested=place.owner is not None)

    def _tags(self, parts: list[str], query: Mapping[str, str]) -> None:
        tag = parts[1] if len(parts) == 2 else None
        if self._database is None and any(
            e.get("tags") is None for items in self._store.entities.values() for e in items.values()
        ):
            raise Reply(500, {"message": "An unexpected error occurred"})
        reply = admin_pages.page(
            "/" + "/".join(parts), admin_pages.tag_rows(self._store, tag), query, dbless=False, nested=True
        )
        reply.body["data"] = [{k: v for k, v in row.items() if k != "id"} for row in reply.body["data"]]
        raise reply

    def _owner(self, place: Place) -> Entity:
        assert place.owner is not None
        check_key(*place.owner)
        found = self._store.find(*place.owner)
        if found is None:
            raise Reply(404, db_errors.NOT_FOUND)
        return found

    def _find(self, place: Place) -> Entity:
        """The entity that is there, below its owner. Raises Reply."""
        store = self._store
        if place.owner is not None:
            self._owner(place)
        if place.key is not None and place.kind not in ("targets", "acls"):
            check_key(place.kind, place.key)
        if place.owner is None:
            found = store.find(place.kind, place.key or "")
        elif place.up:
            found = store.entities[place.kind].get((self._owner(place).get(place.field) or {}).get("id", ""))
        else:
            found = self._child(place, self._owner(place))
        if found is None:
            raise Reply(404, db_errors.NOT_FOUND)
        return found

    def _child(self, place: Place, owner: Entity) -> Entity | None:
        key = place.key or ""
        mine = self._store.children(place.kind, place.field, owner["id"])
        # these two have names only below their owner
        local = {"targets": "target", "acls": "group"}.get(place.kind, KINDS[place.kind].key)
        return next((e for e in mine if e["id"] == key or (local and e.get(local) == key)), None)

    # -- writes --------------------------------------------------------------------------------------------
    def _refuse(self, method: str, place: Place, fields: Callable[[], Any]) -> None:
        """What is written is checked all the same, and refused for its own errors first."""
        if method in ("POST", "PUT"):
            body = fields()
            if isinstance(body, dict) and place.owner is not None and not place.up:
                body = {**body, place.field: {"id": self._owner(place)["id"]}}
            self._checker(self._store).complete(place.kind, body if isinstance(body, dict) else {})
        by = "" if place.key is None or is_uuid(place.key) else f" by '{KINDS[place.kind].key or 'id'}'"
        raise db_errors.unsupported(_VERBS[method], place.kind, by)

    def _write(self, method: str, place: Place, body: Any) -> None:
        if not isinstance(body, dict):
            raise Reply(500, {"message": "An unexpected error occurred"})
        reply = self._written(method, place, body)
        self._changed()
        raise reply

    def _written(self, method: str, place: Place, body: dict[str, Any]) -> Reply:
        database = self._database
        assert database is not None
        kind = place.kind
        if method == "DELETE":
            return self._delete(place)
        if place.owner is not None and not place.up:
            body = {**body, place.field: {"id": self._owner(place)["id"]}}
        if method == "POST":
            entity = database.insert(kind, body)
            self._snis(kind, entity, body)
            return Reply(201, shown(entity, self._store, kind))
        if kind == "acls" and place.owner and not is_uuid(place.key) and method == "PUT":
            found = self._child(place, self._owner(place))
            body = {**body, "group": place.key}
            entity = database.upsert(kind, found["id"], body) if found else database.insert(kind, body)
        elif kind == "targets" or method == "PATCH":
            by_hand = place.owner is not None or (kind == "plugins" and body.get("name") is None)
            key = self._find(place)["id"] if by_hand else place.key or ""
            entity = database.update(kind, key, body)
        elif place.up:
            entity = database.upsert(kind, self._find(place)["id"], body)
        else:
            entity = database.upsert(kind, place.key or "", body)
        if method == "PUT":
            body = {"snis": [], **{name: value for name, value in body.items() if value is not None}}
        self._snis(kind, entity, body)
        return Reply(200, shown(entity, self._store, kind))

    def _delete(self, place: Place) -> Reply:
        assert self._database is not None
        try:
            entity = self._find(place)
        except Reply as e:
            if place.owner is not None or e.status != 404:
                raise
            return Reply(204)  # to delete what is not there is no error
        self._database.delete(place.kind, entity)
        return Reply(204)

    def _snis(self, kind: str, entity: Entity, body: Mapping[str, Any]) -> None:
        """A certificate's `snis` is a list of names: it makes and removes SNIs; without it PUT removes all."""
        if kind != "certificates" or not isinstance(body.get("snis"), list):
            return
        assert self._database is not None
        mine = self._store.children("snis", "certificate", entity["id"])
        for sni in mine:
            if sni["name"] not in body["snis"]:
                self._database.delete("snis", sni)
        for name in body["snis"]:
            if name not in [sni["name"] for sni in mine]:
                self._database.insert("snis", {"name": name, "certificate": {"id": entity["id"]}})


def options(allowed: str) -> Reply:
    """204 with what may be done."""
    headers = (
        ("Allow", allowed),
        ("Access-Control-Allow-Methods", allowed),
        ("Access-Control-Allow-Headers", "Content-Type"),
    )
    return Reply(204, None, headers)


def shown(entity: Entity, store: Store, kind: str) -> Entity:
    """An entity as the Admin API shows it."""
    if kind == "certificates":
        snis = [sni["name"] for sni in store.children("snis", "certificate", entity["id"])]
        return {**entity, "snis": sorted(snis)}
    return entity
