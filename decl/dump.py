"""Dump: from what a live Kong holds to the files that would make it.

What kgate itself rendered comes back in source form: the adapter, the tag of default deny, ids that Kong's
rule gives anyway and the upstreams that stand in for addresses are gone; tenants with their hosts, owner and
common plugins are back; fields that hold the server's default are left out. Loading and rendering the result
gives the same entities again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from decl import ids
from decl.adapter import NAMES
from decl.dump_tenants import MARKS, restore_tenants
from decl.file_kinds import CREDENTIALS
from decl.flatten import Flat
from decl.kong.hashed import HASHED, is_hashed
from decl.late import Late
from decl.render import CANARY_UPSTREAM
from decl.secret_fields import is_secret
from decl.server_schema import Schemas
from decl.url import parse_url
from kong_plugins.static_fallback.source import JSON_TYPE, TEXT_TYPE, to_kong

Entity = dict[str, Any]

_DROPPED = ("created_at", "updated_at", "ws_id", "cert_digest")
_PARENTS = ("service", "route", "consumer", "upstream", "certificate", "set")
_ANSWER_DEFAULTS = (("name", "static"), ("status", 200))
_ORDER = ("name", "username", "target", "prefix", "tenant", "url", "host", "paths")


def dump(
    flat: Flat, schemas: Schemas, secrets: str = "env", tags: Sequence[str] = ()
) -> tuple[Entity, tuple[str, ...]]:
    """The document of a file, and the names of environment variables that it refers to.

    schemas: the server's, for its defaults. secrets: "env" writes `!env NAME` for each secret, "clear" the
    secrets themselves. tags: all entities have them, by which they were picked; the file picks by them too.
    """
    return _Dumper(flat, schemas, secrets == "env", tags).document()


class _Dumper:
    def __init__(self, flat: Flat, schemas: Schemas, hide: bool, select: Sequence[str]) -> None:
        self._flat, self._schemas, self._hide, self._select = flat, schemas, hide, select
        # those that tell the tenants are needed yet
        self._implied = {"kgate-protected", *(tag for tag in select if not tag.startswith(MARKS))}
        self._variables: dict[str, str] = {}
        self._stand_ins = self._find_stand_ins()

    def document(self) -> tuple[Entity, tuple[str, ...]]:
        flat = self._flat
        document: Entity = {"_format_version": "3.0"}
        if self._select:
            document["_info"] = {"select_tags": list(self._select)}
        services = [self._service(entity) for entity in _sorted(flat["services"])]
        upstreams = [
            self._nest("upstreams", entity, {"targets": "upstream"})
            for entity in _sorted(flat["upstreams"])
            if entity["name"] not in self._stand_ins
        ]
        lists = {
            "tenants": restore_tenants(services, upstreams),
            "services": services,
            "routes": [self._route(e) for e in _sorted(flat["routes"]) if not e.get("service")],
            "plugins": self._plugins(),
            "upstreams": upstreams,
            "consumers": [
                self._nest("consumers", e, dict.fromkeys((*CREDENTIALS, "plugins"), "consumer"))
                for e in _sorted(flat["consumers"])
            ],
            "certificates": [
                self._nest("certificates", e, {"snis": "certificate"}) for e in _sorted(flat["certificates"])
            ],
            "ca_certificates": [self._entity("ca_certificates", e) for e in _sorted(flat["ca_certificates"])],
            "vaults": [self._entity("vaults", e) for e in _sorted(flat["vaults"])],
            "key_sets": [self._nest("key_sets", e, {"keys": "set"}) for e in _sorted(flat["key_sets"])],
            "keys": [self._entity("keys", e) for e in _sorted(flat["keys"]) if not e.get("set")],
        }
        document.update((name, items) for name, items in lists.items() if items)
        return document, tuple(self._variables)

    # -- entities --------------------------------------------------------------------------------------------
    def _service(self, entity: Entity) -> Entity:
        made = self._nest("services", entity, {"plugins": "service"})
        routes = [self._route(route) for route in self._children("routes", "service", entity["id"])]
        # defaults are gone by now: take the parts from what the server holds
        protocol, host, port = entity.get("protocol", "http"), entity["host"], entity.get("port", 80)
        if host in self._stand_ins:
            target = self._stand_ins[host]
            host, _, text = target.rpartition(":")
            port = int(text)
        for name in ("protocol", "host", "port"):
            made.pop(name, None)
        path = made.pop("path", None)
        result = {"name": made.pop("name", None), **_address(protocol, host, port, path), **made}
        if routes:
            result["routes"] = routes
        return {name: value for name, value in result.items() if value is not None}

    def _route(self, entity: Entity) -> Entity:
        made = self._nest("routes", entity, {"plugins": "route"})
        made.pop("service", None)
        return made

    def _plugins(self) -> list[Entity]:
        found = []
        for entity in _sorted(self._flat["plugins"]):
            if entity["name"] in NAMES or any(entity.get(scope) for scope in _PARENTS[:3]):
                continue
            found.append(self._entity("plugins", entity))
        return found

    def _nest(self, kind: str, entity: Entity, children: Mapping[str, str]) -> Entity:
        made = self._entity(kind, entity)
        for child, field in children.items():
            items = [self._entity(child, item, field) for item in self._children(child, field, entity["id"])]
            if items:
                made[child] = items
        return made

    def _children(self, kind: str, field: str, parent: str) -> list[Entity]:
        """The entities of a parent; a plugin of several scopes stands in the most specific one."""
        found = []
        for entity in _sorted(self._flat.get(kind, {})):
            scopes = (
                [s for s in ("route", "service", "consumer") if entity.get(s)] if kind == "plugins" else []
            )
            own = scopes[0] if scopes else field
            if own == field and (entity.get(field) or {}).get("id") == parent:
                found.append(entity)
        return found

    def _entity(self, kind: str, entity: Entity, parent: str = "") -> Entity:
        """One entity without what the server fills in, with references by name."""
        bare = self._schemas.sendable(kind, entity)
        made = {name: value for name, value in bare.items() if name not in _DROPPED and value is not None}
        made = self._without_defaults(kind, made)
        for field in _PARENTS:
            named = made.get(field)
            if isinstance(named, Mapping) and "id" in named:
                if field == parent:
                    del made[field]
                else:
                    made[field] = self._name_of(field, named["id"])
        tags = [tag for tag in entity.get("tags") or () if tag not in self._implied]
        made.pop("tags", None)
        if tags:
            made["tags"] = tags
        if kind == "plugins" and made.get("name") == "static-fallback":
            made["config"] = _readable(made.get("config", {}))
        if not made.get("config", True):
            del made["config"]
        if made.get("id") == self._usual_id(kind, entity):
            del made["id"]
        owner = str(made.get("name") or made.get("username") or made.get("kid") or kind)
        if kind in CREDENTIALS and entity.get("consumer"):
            owner = self._name_of("consumer", entity["consumer"]["id"])
        hidden: Entity = self._hidden(kind, made, owner) if self._hide else made
        if is_hashed(kind, entity) and isinstance(made.get(HASHED[kind]), str):
            # of the hash Kong would make another one: what it is the hash of must be told anew
            hidden[HASHED[kind]] = Late("env", self._variable(owner, HASHED[kind], made[HASHED[kind]]))
        first = [name for name in _ORDER if name in hidden]
        return {name: hidden[name] for name in (*first, *(n for n in hidden if n not in first))}

    def _without_defaults(self, kind: str, entity: Entity) -> Entity:
        """The fields that the server would not fill in by itself."""
        key = {"name": entity["name"]} if kind == "plugins" else {}
        blank = self._schemas.filled(kind, key)
        result: Entity = _differing(entity, blank)
        if kind == "plugins":
            result["name"] = entity["name"]
        return result

    def _name_of(self, field: str, entity_id: str) -> str:
        kind = {"set": "key_sets"}.get(field, f"{field}s")
        found = self._flat.get(kind, {}).get(entity_id, {})
        return str(found.get("name") or found.get("username") or entity_id)

    def _usual_id(self, kind: str, entity: Entity) -> str | None:
        """The id that render gives to such an entity when the file does not say one."""

        def foreign(name: str) -> str:
            return str((entity.get(name) or {}).get("id", ""))

        if kind == "plugins":
            return ids.plugin_id(entity["name"], foreign("route"), foreign("service"), foreign("consumer"))
        if kind == "targets":
            return ids.target_id(foreign("upstream"), entity["target"])
        if kind in CREDENTIALS:
            key = entity.get(CREDENTIALS[kind]) if kind != "keyauth_credentials" else "#0"
            alone = [
                item
                for item in self._flat[kind].values()
                if item.get("consumer") == entity.get("consumer") and kind == "keyauth_credentials"
            ]
            return ids.credential_id(kind, foreign("consumer"), str(key)) if len(alone) < 2 else None
        if kind == "vaults":
            return ids.entity_id(kind, f"vaults:*:{entity['prefix']}")
        if kind == "keys":
            return ids.key_id(entity["kid"], foreign("set"))
        if kind == "consumers" and not entity.get("username"):
            return ids.entity_id(kind, f"custom_id:{entity.get('custom_id')}")
        name = entity.get("username" if kind == "consumers" else "name")
        return ids.entity_id(kind, name) if isinstance(name, str) else None

    def _hidden(self, kind: str, value: Any, owner: str, field: str = "") -> Any:
        if isinstance(value, dict):
            return {name: self._hidden(kind, item, owner, name) for name, item in value.items()}
        if isinstance(value, str) and value and is_secret(kind, field) and not value.startswith("{vault://"):
            return Late("env", self._variable(owner, field, value))
        return value

    def _variable(self, owner: str, field: str, value: str) -> str:
        base = (
            "KGATE_" + "".join(c if c.isalnum() and c.isascii() else "_" for c in f"{owner}_{field}").upper()
        )
        name, number = base, 1
        while self._variables.setdefault(name, value) != value:
            number += 1
            name = f"{base}_{number}"
        return name

    def _find_stand_ins(self) -> dict[str, str]:
        """Upstreams that render puts in the place of an address: name -> its one target."""
        found = {}
        for upstream in self._flat["upstreams"].values():
            if upstream["name"].startswith(CANARY_UPSTREAM):
                targets = self._children("targets", "upstream", upstream["id"])
                if len(targets) == 1 and upstream["id"] == ids.entity_id("upstreams", upstream["name"]):
                    found[upstream["name"]] = targets[0]["target"]
        return found


def _address(protocol: str, host: str, port: int, path: str | None) -> Entity:
    """Where a service is: as `url`, or in parts where no url says exactly that."""
    usual = 443 if protocol in ("https", "grpcs", "tls") else 80
    url = f"{protocol}://{host if port == usual else f'{host}:{port}'}{path or ''}"
    try:
        if tuple(parse_url(url)) == (protocol, host, port, path):
            return {"url": url}
    except ValueError:
        pass  # `tls_passthrough` is no scheme of a URL, an IPv6 address without brackets is no host of one
    parts = {"protocol": protocol, "host": host, "port": port, "path": path}
    return {name: value for name, value in parts.items() if value is not None}


def _sorted(entities: Mapping[str, Entity]) -> list[Entity]:
    def key(entity: Entity) -> tuple[str, str]:
        name = entity.get("name") or entity.get("username") or entity.get("target") or entity.get("prefix")
        return str(name or ""), str(entity.get("id", ""))

    return sorted(entities.values(), key=key)


def _differing(value: Mapping[str, Any], blank: Mapping[str, Any]) -> Entity:
    """The fields of a record that are not as in a blank one, at every depth."""
    result: Entity = {}
    for name, item in value.items():
        default = blank.get(name)
        if isinstance(item, dict) and isinstance(default, dict):
            inner = _differing(item, default)
            if inner:
                result[name] = inner
        elif item != default and not (item in ([], {}) and default in (None, [], {})):
            result[name] = item
    return result


def _readable(config: Entity) -> Entity:
    """static-fallback as people write it: `json:` and `text:` where that gives the same again."""
    answers = []
    for answer in config.get("responses") or ():
        made = {
            name: value
            for name, value in answer.items()
            if value is not None and (name, value) not in _ANSWER_DEFAULTS
        }
        if "on" in made:
            made["on"] = [int(case) if str(case).isdecimal() else case for case in made["on"]]
        for field, kind in (("json", JSON_TYPE), ("text", TEXT_TYPE)):
            if made.get("content_type") != kind or "body" not in made:
                continue
            try:
                body = json.loads(made["body"]) if field == "json" else made["body"]
            except ValueError:
                continue
            short = {n: v for n, v in made.items() if n not in ("body", "content_type")} | {field: body}
            if to_kong({"responses": [short]}) == to_kong({"responses": [made]}):
                made = short
                break
        answers.append(made)
    return {**config, "responses": answers} if answers else config
