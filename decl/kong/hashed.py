"""Secrets of which Kong keeps a hash only: whether a text is the one behind it, and whose they are.

A salted SHA-1 for basic-auth (kong/plugins/basic-auth/crypto.lua), PBKDF2 in the PHC string format for OAuth 2
credentials with `hash_secret` (kong/plugins/oauth2/secret.lua).
"""

from __future__ import annotations

import hashlib
import re
from base64 import b64decode
from collections.abc import Mapping
from functools import cache
from typing import Any

HASHED = {"basicauth_credentials": "password", "oauth2_credentials": "client_secret"}
"""The field that may be told as a hash, by kind."""

_PHC = re.compile(
    r"\$pbkdf2-(?P<digest>sha\d+)\$i=(?P<count>\d{1,7}),l=(?P<length>\d{1,3})\$(?P<salt>[^$]+)\$(?P<hash>[^$]+)"
)


def is_hashed(kind: str, entity: Mapping[str, Any]) -> bool:
    """Whether Kong tells only the hash of the entity's secret, and would hash again what is written back."""
    return kind == "basicauth_credentials" or (
        kind == "oauth2_credentials" and entity.get("hash_secret") is True
    )


def password_hash(password: str, consumer_id: str) -> str:
    """What Kong keeps of a basic-auth password."""
    return hashlib.sha1((password + consumer_id).encode(), usedforsecurity=False).hexdigest()


@cache
def is_secret_of(secret: str, held: str) -> bool:
    """Whether a hash that Kong tells of an OAuth 2 credential is of this secret; one of a kind that is not known here
    is not."""
    found = _PHC.fullmatch(held)
    if found is None:
        return False
    try:
        salt, digest = _decoded(found["salt"]), _decoded(found["hash"])
        made = hashlib.pbkdf2_hmac(
            found["digest"], secret.encode(), salt, int(found["count"]), int(found["length"])
        )
    except ValueError:
        return False
    return made == digest


def _decoded(text: str) -> bytes:
    return b64decode(text + "=" * (-len(text) % 4), validate=True)
