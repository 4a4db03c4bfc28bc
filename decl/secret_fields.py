"""Which fields hold secrets, by entity and by name: for masking, and for the rule against literal secrets."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from decl.late import MASK, Late

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
    r"(^|_)(pass|passwd|password|passphrase|secret|token|api_?key|apikey|private_key|secret_key|access_key"
    r"|client_secret|authorization|credential|credentials)$",
    re.IGNORECASE,
)
_NOT = frozenset(("key_claim_name", "hide_credentials", "anonymous", "token_header"))


def is_secret(kind: str, field: str) -> bool:
    """Whether a field of an entity (kind is Kong's list; "plugins" for a config) holds a secret by its name."""
    if field in FIELDS.get(kind, ()):
        return True
    return kind in ("plugins", "vaults") and field not in _NOT and bool(_NAME.search(field))


def masked(value: Any, kind: str = "") -> Any:
    """A copy of a document with the secrets hidden; references (`!env NAME`, `{vault://...}`) stay."""
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


def _is_reference(value: str) -> bool:
    return not value or isinstance(value, Late) or value.startswith("{vault://")
