"""A credential whose secret, or key, is left to Kong, on nodes without a database.

Each node draws its own at every push: a client is known to one node and not to the next, and to none after the
next sync. Say it in the file (`!env`, `!file` or a vault reference). A database keeps what was drawn once.

Why: measured on Kong 3.9.3: `POST /config` fills fields with `auto` (`secret` of hmac-auth and jwt, `key` of key-auth
and jwt, `client_id` and `client_secret` of oauth2) with random text on each node.

PASS:
    clusters: {main: {mode: dbless, nodes: ["http://kong-1:8001"]}}
    consumers:
    - username: partner
      hmacauth_credentials: [{username: partner, secret: !env PARTNER}]
      jwt_secrets: [{key: partner, algorithm: RS256, rsa_public_key: !env PARTNER_KEY}]

PASS:
    clusters: {main: {mode: db, nodes: ["http://kong-1:8001"]}}
    consumers:
    - username: partner
      hmacauth_credentials: [{username: partner}]

FAIL:
    clusters: {main: {mode: dbless, nodes: ["http://kong-1:8001"]}}
    consumers:
    - username: partner
      hmacauth_credentials: [{username: partner}]

FAIL:
    consumers:
    - username: partner
      jwt_secrets: [{key: partner}]
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from decl.findings import WARNING, Level
from decl.lint.hit import Hit
from decl.lint.view import View
from decl.model import Credential

ID = "secret-not-in-file"
LEVEL: Level = WARNING

_DRAWN: Final = {
    "hmacauth_credentials": ("secret",),
    "jwt_secrets": ("key", "secret"),
    "keyauth_credentials": ("key",),
    "oauth2_credentials": ("client_id", "client_secret"),
}


def check(view: View) -> Iterator[Hit]:
    """Credentials with something that a node without a database draws."""
    modes = {cluster.mode for cluster in view.gateway.clusters.values()}
    if modes and "dbless" not in modes:
        return
    for consumer in view.gateway.consumers:
        for credential in consumer.credentials:
            missing = [name for name in _DRAWN.get(credential.kind, ()) if _is_drawn(credential, name)]
            if missing:
                message = f"each node draws its own {' and '.join(missing)} at every push; say it here (!env, !file)"
                yield Hit(credential.path, message)


def _is_drawn(credential: Credential, name: str) -> bool:
    fields = credential.fields
    if name == "secret" and credential.kind == "jwt_secrets":
        # the other algorithms have a public key
        return fields.get(name) is None and str(fields.get("algorithm") or "HS256").startswith("HS")
    return fields.get(name) is None
