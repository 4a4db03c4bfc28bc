"""The kinds of entities in a file: what is unique in them, what stands in what, how they are referred to.

After Kong's entity schemas (kong/db/schema/entities, kong/plugins/*/daos.lua) of 3.9; `tenants` and `issuers`
are ours, `consumer_groups` is known to Kong Enterprise only. (`decl.kinds` is the Admin API's view.)
"""

from __future__ import annotations

from typing import Final, NamedTuple


class Kind(NamedTuple):
    """singular: for messages and Kong's errors. unique: the fields of which no two entities of the kind have
    the same value. parents: the kind of each possible parent and the field that names it. needs: the parent's
    field that must be there. keys: the fields that a reference may give."""

    singular: str
    unique: tuple[str, ...] = ("name",)
    parents: tuple[tuple[str, str], ...] = ()
    needs: str = ""
    keys: tuple[str, ...] = ("name", "id")


_OF_CONSUMER: Final = (("consumers", "consumer"),)
_SCOPES: Final = (
    ("tenants", ""),
    ("services", "service"),
    ("routes", "route"),
    ("consumers", "consumer"),
    ("consumer_groups", "consumer_group"),
)

KINDS: Final[dict[str, Kind]] = {
    "tenants": Kind("tenant", keys=("name",)),
    "issuers": Kind("issuer", ("name", "iss"), keys=("name",)),
    "vaults": Kind("vault", ("prefix",), keys=("prefix", "id")),
    "ca_certificates": Kind("ca_certificate", ("cert",), keys=("id",)),
    "certificates": Kind("certificate", (), keys=("id",)),
    "snis": Kind("sni", ("name",), (("certificates", "certificate"),), "certificate"),
    "key_sets": Kind("key_set"),
    "keys": Kind("key", ("name",), (("key_sets", "set"),)),
    "upstreams": Kind("upstream"),
    "targets": Kind("target", (), (("upstreams", "upstream"),), "upstream", ("target", "id")),
    "services": Kind("service"),
    "routes": Kind("route", ("name",), (("services", "service"),)),
    "consumers": Kind("consumer", ("username", "custom_id"), keys=("username", "id")),
    "consumer_groups": Kind("consumer_group"),
    "keyauth_credentials": Kind("keyauth_credential", ("key",), _OF_CONSUMER, "consumer"),
    "jwt_secrets": Kind("jwt_secret", ("key",), _OF_CONSUMER, "consumer"),
    "basicauth_credentials": Kind("basicauth_credential", ("username",), _OF_CONSUMER, "consumer"),
    "hmacauth_credentials": Kind("hmacauth_credential", ("username",), _OF_CONSUMER, "consumer"),
    "oauth2_credentials": Kind("oauth2_credential", ("client_id",), _OF_CONSUMER, "consumer"),
    "acls": Kind("acl", (), _OF_CONSUMER, "consumer"),
    "plugins": Kind("plugin", ("instance_name",), _SCOPES, keys=("instance_name", "id")),
}

CREDENTIALS: Final[dict[str, str]] = {
    "keyauth_credentials": "name",
    "jwt_secrets": "key",
    "basicauth_credentials": "username",
    "hmacauth_credentials": "username",
    "oauth2_credentials": "client_id",
    "acls": "group",
}
"""The lists of credentials in a consumer, and the public field that tells them apart. A key-auth credential
has none but its secret: kgate gives it a `name`, which Kong does not see."""

PLAIN: Final = ("vaults", "ca_certificates", "certificates", "snis", "key_sets", "keys", "consumer_groups")
"""Kinds that kgate passes on as they are."""

SINGULAR: Final = {name: kind.singular for name, kind in KINDS.items()}


def _children(parent: str) -> tuple[str, ...]:
    return tuple(name for name, kind in KINDS.items() if any(parent == above for above, _ in kind.parents))


CHILDREN: Final[dict[str, tuple[str, ...]]] = {
    "": tuple(KINDS),
    **{parent: _children(parent) for parent in KINDS if _children(parent)},
}
"""Which lists of entities stand in which entity; "" is the document."""
