"""Ids by Kong's own rule, so that nodes, pushes and modes agree on them.

DB-less Kong makes missing ids itself: UUID version 5 (RFC 9562 section 5.5) of the entity's name, in a
namespace that is the UUID of the list's name in a fixed one (kong/db/schema/others/declarative_config.lua).
Plugins and targets take their cache key, `plugins:*:NAME:ROUTE:SERVICE:CONSUMER`, in place of a name.
Unnamed routes, certificates and key-auth and JWT credentials would get a random id at each push, which
resets counters that hang on it: those get theirs here. No id is made of a secret: an id stands in logs and
counters, and a short key could be found from it by trying.
"""

from __future__ import annotations

from functools import cache
from hashlib import sha1
from uuid import UUID, uuid5

_ROOT = UUID("fd02801f-0957-4a15-a55a-c8d9606f30b5")


_BY_NAME_ALONE = frozenset(("basicauth_credentials", "hmacauth_credentials", "oauth2_credentials"))


@cache
def _namespace(kind: str) -> bytes:
    return uuid5(_ROOT, kind).bytes


def entity_id(kind: str, name: str) -> str:
    """The id of an entity with a unique name; kind is the list's name, "services"."""
    # uuid.uuid5 in a tenth of its time: a config has tens of thousands of ids
    digest = sha1(_namespace(kind) + name.encode("utf-8"), usedforsecurity=False).hexdigest()
    variant = "89ab"[int(digest[16], 16) & 3]
    return f"{digest[:8]}-{digest[8:12]}-5{digest[13:16]}-{variant}{digest[17:20]}-{digest[20:32]}"


def plugin_id(name: str, route_id: str = "", service_id: str = "", consumer_id: str = "") -> str:
    """The id of a plugin instance from its scope; "" is a scope that it does not have."""
    return entity_id("plugins", f"plugins:*:{name}:{route_id}:{service_id}:{consumer_id}")


def target_id(upstream_id: str, target: str) -> str:
    """The id of a target within its upstream."""
    return entity_id("targets", f"targets:*:{upstream_id}:{target}")


def credential_id(kind: str, consumer_id: str, key: str) -> str:
    """The id of a credential; key is the public text that tells it from others, never the secret.

    Kong's rule for basic-auth, hmac-auth, oauth2 (the user name alone) and acls; ours, of the same form, for
    key-auth and JWT: stable as long as the consumer and the key's name are.
    """
    own = key if kind in _BY_NAME_ALONE else f"{consumer_id}:{key}"
    return entity_id(kind, f"{kind}:*:{own}")


def key_id(kid: str, set_id: str) -> str:
    """The id of a key within its key set, "" without one."""
    return entity_id("keys", f"keys:*:{kid}:{set_id}")
