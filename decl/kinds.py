"""The kinds of Kong's entities: where the Admin API has them, what they refer to, what is unique in them.

Read from kong/db/schema/entities and the plugins' daos.lua (Kong 3.9).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Kind(NamedTuple):
    """One kind. path: its collection in the Admin API, "" for targets, which stand only below their upstream.

    singular: its name in Kong's errors. refs: foreign fields and the kinds that they name. unique: groups of
    fields of which no two entities have the same values; the first one is what people call the entity by.
    """

    path: str
    singular: str
    refs: Mapping[str, str] = {}
    unique: tuple[tuple[str, ...], ...] = ()


_CONSUMER = {"consumer": "consumers"}
KINDS: dict[str, Kind] = {
    "vaults": Kind("vaults", "vault", {}, (("prefix",),)),
    "ca_certificates": Kind("ca_certificates", "ca_certificate"),
    "certificates": Kind("certificates", "certificate"),
    "snis": Kind("snis", "sni", {"certificate": "certificates"}, (("name",),)),
    "key_sets": Kind("key-sets", "key_set", {}, (("name",),)),
    "keys": Kind("keys", "key", {"set": "key_sets"}, (("name",), ("kid", "set"))),
    "consumers": Kind("consumers", "consumer", {}, (("username",), ("custom_id",))),
    "keyauth_credentials": Kind("key-auths", "keyauth_credential", _CONSUMER, (("key",),)),
    "jwt_secrets": Kind("jwts", "jwt_secret", _CONSUMER, (("key",),)),
    "basicauth_credentials": Kind("basic-auths", "basicauth_credential", _CONSUMER, (("username",),)),
    "hmacauth_credentials": Kind("hmac-auths", "hmacauth_credential", _CONSUMER, (("username",),)),
    "oauth2_credentials": Kind("oauth2", "oauth2_credential", _CONSUMER, (("client_id",),)),
    "acls": Kind("acls", "acl", _CONSUMER, (("consumer", "group"),)),
    "upstreams": Kind("upstreams", "upstream", {"client_certificate": "certificates"}, (("name",),)),
    "targets": Kind("", "target", {"upstream": "upstreams"}, (("upstream", "target"),)),
    "services": Kind("services", "service", {"client_certificate": "certificates"}, (("name",),)),
    "routes": Kind("routes", "route", {"service": "services"}, (("name",),)),
    "plugins": Kind(
        "plugins",
        "plugin",
        {"service": "services", "route": "routes", "consumer": "consumers"},
        (("name", "service", "route", "consumer"), ("instance_name",)),
    ),
}
"""Parents stand before their children."""

CHILDREN: dict[str, dict[str, str]] = {
    parent: {
        child: field
        for child, kind in KINDS.items()
        for field, named in kind.refs.items()
        if named == parent and field != "client_certificate"
    }
    for parent in KINDS
}
"""kind -> {list nested in it: the foreign field that nesting sets}."""

BY_SINGULAR = {kind.singular: name for name, kind in KINDS.items()}
