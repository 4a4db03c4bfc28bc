"""Fields of consumers' credentials, certificates, vaults and keys."""

from __future__ import annotations

from typing import Any

from sandbox.gateway_fields import foreign, head, text

Schema = dict[str, Any]
JWT_ALGORITHMS = ["HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "ES256", "ES384", "ES512",
                  "PS256", "PS384", "PS512", "EdDSA"]  # fmt: skip
_OF_CONSUMER: list[Schema] = [
    *head("updated_at"),
    {"consumer": foreign("consumers", required=True, on_delete="cascade")},
]

KEYAUTH: list[Schema] = [
    *_OF_CONSUMER,
    {"key": text(unique=True, auto=True)},
    {"ttl": {"type": "integer", "between": [0, 100000000]}},
]
JWT: list[Schema] = [
    *_OF_CONSUMER,
    {"key": text(unique=True, auto=True)},
    {"secret": text(auto=True)},
    {"rsa_public_key": text()},
    {"algorithm": text(default="HS256", one_of=JWT_ALGORITHMS)},
]
BASICAUTH: list[Schema] = [
    *_OF_CONSUMER,
    {"username": text(required=True, unique=True)},
    {"password": text(required=True)},
]
HMACAUTH: list[Schema] = [
    *_OF_CONSUMER,
    {"username": text(required=True, unique=True)},
    {"secret": text(auto=True)},
]
ACLS: list[Schema] = [*_OF_CONSUMER, {"group": text(required=True)}]
CERTIFICATES: list[Schema] = [
    *head(),
    {"cert": text(required=True)},
    {"key": text(required=True)},
    {"cert_alt": text()},
    {"key_alt": text()},
]
CA_CERTIFICATES: list[Schema] = [*head(), {"cert": text(required=True)}, {"cert_digest": text(unique=True)}]
SNIS: list[Schema] = [
    *head(),
    {"name": text(required=True, unique=True)},
    {"certificate": foreign("certificates", required=True)},
]
VAULTS: list[Schema] = [
    *head(),
    {"prefix": text(required=True, unique=True, not_one_of=["env"], match="^[a-z][a-z%d-]-[a-z%d]+$")},
    {"name": text(required=True)},
    {"description": {"type": "string"}},
    {"config": {"type": "record", "abstract": True}},
]
KEY_SETS: list[Schema] = [*head(), {"name": text(unique=True)}]
KEYS: list[Schema] = [
    *head(),
    {"set": foreign("key_sets", on_delete="cascade")},
    {"name": text(unique=True)},
    {"kid": text(required=True)},
    {"jwk": text()},
    {"pem": {"type": "record", "fields": [{"private_key": text()}, {"public_key": text()}]}},
]
