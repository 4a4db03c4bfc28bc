"""The kinds of entities: their fields, keys, places in the Admin API, and who owns whom."""

from __future__ import annotations

from typing import Any, NamedTuple

from sandbox import credential_fields as creds
from sandbox import gateway_fields as gateway

Schema = dict[str, Any]


class Kind(NamedTuple):
    """One kind of entity.

    path: its collection in the Admin API, "" when it has none of its own. nested: its name below a parent,
    where that differs. key: the field that stands in URLs for the id. unique: groups of fields of which no two
    entities have the same values.
    """

    fields: list[Schema]
    singular: str
    path: str
    key: str | None = None
    unique: tuple[tuple[str, ...], ...] = ()
    nested: str = ""


_SCOPE = ("consumer", "name", "route", "service")
KINDS: dict[str, Kind] = {
    "services": Kind(gateway.SERVICES, "service", "services", "name", (("name",),)),
    "routes": Kind(gateway.ROUTES, "route", "routes", "name", (("name",),)),
    "upstreams": Kind(gateway.UPSTREAMS, "upstream", "upstreams", "name", (("name",),)),
    "targets": Kind(gateway.TARGETS, "target", "", None, (("target", "upstream"),), "targets"),
    "consumers": Kind(
        gateway.CONSUMERS, "consumer", "consumers", "username", (("username",), ("custom_id",))
    ),
    "keyauth_credentials": Kind(
        creds.KEYAUTH, "keyauth_credential", "key-auths", "key", (("key",),), "key-auth"
    ),
    "jwt_secrets": Kind(creds.JWT, "jwt_secret", "jwts", "key", (("key",),), "jwt"),
    "basicauth_credentials": Kind(
        creds.BASICAUTH, "basicauth_credential", "basic-auths", "username", (("username",),), "basic-auth"
    ),
    "hmacauth_credentials": Kind(
        creds.HMACAUTH, "hmacauth_credential", "hmac-auths", "username", (("username",),), "hmac-auth"
    ),
    "acls": Kind(creds.ACLS, "acl", "acls", None, (("consumer", "group"),), "acls"),
    "certificates": Kind(creds.CERTIFICATES, "certificate", "certificates"),
    "ca_certificates": Kind(
        creds.CA_CERTIFICATES, "ca_certificate", "ca_certificates", None, (("cert_digest",),)
    ),
    "snis": Kind(creds.SNIS, "sni", "snis", "name", (("name",),)),
    "vaults": Kind(creds.VAULTS, "vault", "vaults", "prefix", (("prefix",),)),
    "key_sets": Kind(creds.KEY_SETS, "key_set", "key-sets", "name", (("name",),)),
    "keys": Kind(creds.KEYS, "key", "keys", "name", (("name",),)),
    "plugins": Kind(gateway.PLUGINS, "plugin", "plugins", "instance_name", (("instance_name",), _SCOPE)),
}
FIELDS = {name: kind.fields for name, kind in KINDS.items()}
SINGULAR = {name: kind.singular for name, kind in KINDS.items()}
UNIQUE = {name: kind.key for name, kind in KINDS.items() if kind.key}
_CREDENTIALS = ("keyauth_credentials", "jwt_secrets", "basicauth_credentials", "hmacauth_credentials", "acls")
# entity -> {nested list: (entity of its items, the foreign key that nesting sets)}
CHILDREN: dict[str, dict[str, tuple[str, str]]] = {
    "services": {"routes": ("routes", "service"), "plugins": ("plugins", "service")},
    "routes": {"plugins": ("plugins", "route")},
    "upstreams": {"targets": ("targets", "upstream")},
    "consumers": {"plugins": ("plugins", "consumer"), **{kind: (kind, "consumer") for kind in _CREDENTIALS}},
    "certificates": {"snis": ("snis", "certificate")},
    "key_sets": {"keys": ("keys", "set")},
}


def foreign_fields(kind: str) -> dict[str, Schema]:
    """The references of a kind: field -> its schema."""
    pairs = (pair for entry in FIELDS[kind] for pair in entry.items())
    return {name: field for name, field in pairs if field.get("type") == "foreign"}
