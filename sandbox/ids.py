"""Entity ids as Kong makes them in DB-less mode: uuid5 of the entity's own key.

A fixed namespace gives one namespace per kind of entity, which gives the id; explicit ids are kept. Entities
without a key (an unnamed route, a key-auth credential) get a random id at every load.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

ENTITIES = uuid.UUID("fd02801f-0957-4a15-a55a-c8d9606f30b5")
WORKSPACE = "0dc6f45b-8f8d-40d2-a504-473544ee190b"
NAME_FIELD = {
    "services": "name",
    "routes": "name",
    "upstreams": "name",
    "consumers": "username",
    "snis": "name",
    "key_sets": "name",
}
_CACHE_KEY = {
    "plugins": ("name", "route", "service", "consumer"),
    "targets": ("upstream", "target"),
    "acls": ("consumer", "group"),
    "basicauth_credentials": ("username",),
    "hmacauth_credentials": ("username",),
    "vaults": ("prefix",),
    "keys": ("kid", "set"),
}


def entity_id(kind: str, key: str) -> str:
    """The id of the entity of this kind (`services`, ...) with this key (its name)."""
    return str(uuid.uuid5(uuid.uuid5(ENTITIES, kind), key))


def generated_id(kind: str, item: Mapping[str, Any], parent: tuple[str, str] | None = None) -> str:
    """The id for an entity that was written without one.

    item: as written: a reference in it is a text, or {"id": ...}, which Kong leaves out here. parent: the
    reference that nesting sets, and its id.
    """
    if kind in _CACHE_KEY:
        return entity_id(kind, ":".join([kind, "*", *_parts(kind, item, parent)]))
    name = item.get(NAME_FIELD.get(kind, ""))
    return entity_id(kind, name) if name and isinstance(name, str) else str(uuid.uuid4())


def _parts(kind: str, item: Mapping[str, Any], parent: tuple[str, str] | None) -> list[str]:
    parts = []
    for field in _CACHE_KEY[kind]:
        value = item.get(field)
        if isinstance(value, str):
            parts.append(value)
        elif value is None:
            parts.append(parent[1] if parent and parent[0] == field else "")
    return parts


def is_uuid(text: Any) -> bool:
    """Whether a text is an id, not a name."""
    try:
        return isinstance(text, str) and str(uuid.UUID(text)) == text.lower()
    except ValueError:
        return False


def is_random(kind: str, item: Mapping[str, Any]) -> bool:
    """Whether `generated_id` has nothing to make an id of."""
    return kind not in _CACHE_KEY and not item.get(NAME_FIELD.get(kind, ""))
