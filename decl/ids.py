"""Ids by Kong's own rule, so that nodes, pushes and modes agree on them.

DB-less Kong makes missing ids itself: UUID version 5 (RFC 9562 section 5.5) of the entity's name, in a
namespace that is the UUID of the list's name in a fixed one (kong/db/schema/others/declarative_config.lua).
Plugins and targets take their cache key, `plugins:*:NAME:ROUTE:SERVICE:CONSUMER`, in place of a name.
Unnamed routes and credentials would get a random id at each push, which resets counters that hang on it:
those get theirs here.
"""

from __future__ import annotations

from functools import cache
from uuid import UUID, uuid5

_ROOT = UUID("fd02801f-0957-4a15-a55a-c8d9606f30b5")


@cache
def _namespace(kind: str) -> UUID:
    return uuid5(_ROOT, kind)


def entity_id(kind: str, name: str) -> str:
    """The id of an entity with a unique name; kind is the list's name, "services"."""
    return str(uuid5(_namespace(kind), name))


def plugin_id(name: str, route_id: str = "", service_id: str = "", consumer_id: str = "") -> str:
    """The id of a plugin instance from its scope; "" is a scope that it does not have."""
    return entity_id("plugins", f"plugins:*:{name}:{route_id}:{service_id}:{consumer_id}")


def target_id(upstream_id: str, target: str) -> str:
    """The id of a target within its upstream."""
    return entity_id("targets", f"targets:*:{upstream_id}:{target}")


def credential_id(kind: str, consumer_id: str, key: str) -> str:
    """The id of a credential (Kong has no rule): stable as long as consumer and key are."""
    return entity_id(kind, f"{kind}:*:{consumer_id}:{key}")
