"""Entity ids as Kong makes them in DB-less mode: uuid5 of the entity's own key.

A fixed namespace gives one namespace per kind of entity, which gives the id; explicit ids are kept. Entities
without a key (an unnamed route, a credential) get a random id at every load.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

ENTITIES = uuid.UUID("fd02801f-0957-4a15-a55a-c8d9606f30b5")
WORKSPACE = "0dc6f45b-8f8d-40d2-a504-473544ee190b"
NAME_FIELD = {"services": "name", "routes": "name", "upstreams": "name", "consumers": "username"}


def entity_id(kind: str, key: str) -> str:
    """The id of the entity of this kind (`services`, ...) with this key (its name)."""
    return str(uuid.uuid5(uuid.uuid5(ENTITIES, kind), key))


def generated_id(kind: str, item: Mapping[str, Any]) -> str:
    """The id for an entity that was written without one; foreign keys in it are ids already."""
    if kind in NAME_FIELD and item.get(NAME_FIELD[kind]):
        return entity_id(kind, item[NAME_FIELD[kind]])
    if kind == "plugins":
        scope = ":".join((item.get(field) or {}).get("id", "") for field in ("route", "service", "consumer"))
        return entity_id(kind, f"plugins:*:{item.get('name')}:{scope}")
    if kind == "targets" and item.get("upstream"):
        return entity_id(kind, f"{item.get('target')}:{item['upstream']['id']}:*")
    return str(uuid.uuid4())
