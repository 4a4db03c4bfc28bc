"""Which fields hold secrets, by entity and by name: for masking, and for the rule against literal secrets."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, Final

import schemas
from decl.late import MASK, Late, Secret

FIELDS: Final[dict[str, frozenset[str]]] = {
    "keyauth_credentials": frozenset(("key",)),
    "jwt_secrets": frozenset(("secret",)),
    "basicauth_credentials": frozenset(("password",)),
    "hmacauth_credentials": frozenset(("secret",)),
    "oauth2_credentials": frozenset(("client_secret",)),
    "certificates": frozenset(("key", "key_alt")),
    "keys": frozenset(("jwk", "private_key")),
    "vaults": frozenset(("token",)),
}
"""The fields that Kong itself encrypts or hashes (`encrypted = true` in kong/db/schema/entities), by list."""

_NAME = re.compile(
    r"(^|[_-])(pass|passwd|password|passphrase|secret|secret_v1|token|api[_-]?key|private_key|secret_key|access_key"
    r"|access_key_id|aws_key|provision_key|hmac_key|header_value|param_value|client_secret|authorization"
    r"|credential|credentials)$",
    re.IGNORECASE,
)
_PUBLIC = frozenset(("account_email", "aws_assume_role_arn", "clientid", "eab_kid", "http_endpoint"))
"""Kong encrypts them; everybody may see them."""
_NOT = frozenset(("key_claim_name", "hide_credentials", "anonymous", "token_header"))


def is_secret(kind: str, field: str) -> bool:
    """Whether a field of an entity (kind is Kong's list; "plugins" for a config) holds a secret by its name."""
    if field in FIELDS.get(kind, ()):
        return True
    return kind in ("plugins", "vaults") and field not in _NOT and bool(_NAME.search(field))


def masked(value: Any, kind: str = "") -> Any:
    """A copy of a document with the secrets hidden, and what came from the environment; references (`!env NAME`,
    `{vault://...}`) stay."""
    if value.__class__ is Secret:
        return MASK
    if isinstance(value, Mapping):
        return {
            name: MASK
            if isinstance(item, str) and is_secret(kind, name) and not _is_reference(item)
            else masked(item, name if name in FIELDS or name == "plugins" else kind)
            for name, item in value.items()
        }
    if isinstance(value, list):
        return [masked(item, kind) for item in value]
    return value


def literal_secrets(document: Any) -> frozenset[str]:
    """The texts in fields that hold secrets, anywhere in a document of the file's form."""
    found: set[str] = set()
    _collect(document, "", found)
    return frozenset(found)


def _collect(value: Any, kind: str, found: set[str], names: frozenset[str] = frozenset()) -> None:
    """names: further fields of the plugin that hold secrets."""
    if isinstance(value, dict):
        if kind == "plugins" and "config" in value:
            names = encrypted_fields(str(value.get("name")))
        for name, item in value.items():
            if (kind and is_secret(kind, str(name))) or name in names:
                found.update(_texts(item))
            elif isinstance(item, dict | list):
                _collect(item, name if name in FIELDS or name == "plugins" else kind, found, names)
    elif isinstance(value, list):
        for item in value:
            _collect(item, kind, found, names)


def _texts(value: Any) -> Iterator[str]:
    """A secret's lines; of one with the wrong type all texts in it."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from _texts(item)
    elif isinstance(value, str) and not _is_reference(value):
        yield from filter(None, (value, *map(str.strip, value.splitlines())))


@cache
def encrypted_fields(plugin: str) -> frozenset[str]:
    """The fields of a bundled plugin's config that Kong encrypts (`encrypted = true`), whatever their names."""
    found: set[str] = set()

    def walk(value: Any) -> None:
        if isinstance(value, list):
            for entry in value:
                for name, field in entry.items() if isinstance(entry, dict) else ():
                    if isinstance(field, dict):
                        found.update([name] if field.get("encrypted") else [])
                        walk(field.get("fields"))
                        walk((field.get("elements") or {}).get("fields"))

    walk((schemas.kong_plugin(plugin) or {}).get("fields"))
    return frozenset(found - _PUBLIC)


def _is_reference(value: str) -> bool:
    return not value or isinstance(value, Late) or value.startswith("{vault://")
