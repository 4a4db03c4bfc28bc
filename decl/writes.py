"""One change as a request to the Admin API, and the request that takes it back."""

from __future__ import annotations

from typing import Any, NamedTuple

from decl.change import Change
from decl.kinds import KINDS
from decl.kong.hashed import HASHED, is_hashed
from decl.server_schema import Schemas

_PATCHED: dict[str, dict[str, Any]] = {
    # PUT never makes a target
    "targets": {"weight": 100, "tags": None},
    # PUT takes all snis away that it does not name (kong/db/dao/certificates.lua), and with them the certificate
    "certificates": {"cert_alt": None, "key_alt": None, "tags": None},
}
"""Kinds that PUT does not update well, and what PATCH must be told to forget."""

_DRAWN: dict[str, tuple[str, dict[str, Any]]] = {
    "basicauth_credentials": ("password", {"tags": None}),
    "hmacauth_credentials": ("secret", {"tags": None}),
    "jwt_secrets": ("secret", {"rsa_public_key": None, "algorithm": "HS256", "tags": None}),
    "oauth2_credentials": (
        "client_secret",
        {"redirect_uris": None, "client_type": "confidential", "tags": None},
    ),
}
"""Kinds with a secret that PUT draws anew (or misses) where the body has none, and what PATCH must be told to
forget."""


class Write(NamedTuple):
    """A request. Every one may be sent again: PUT, DELETE, and POST of an entity with an id of its own."""

    method: str
    path: str
    body: dict[str, Any] | None
    entity: str
    """The entity's own path: there it can be looked at."""
    may_be_there: bool = False
    """It was to be deleted, and nobody knows whether it was: when it is there, nothing is to be made."""


def write(change: Change) -> Write:
    """The request that makes a change."""
    if change.action == "delete":
        assert change.before is not None
        path = _path(change.kind, change.before)
        return Write("DELETE", path, None, path)
    assert change.body is not None
    return _upsert(change.kind, change.body, change.before)


def inverse(change: Change, schemas: Schemas) -> Write | None:
    """The request that takes a change back; None when Kong has no way to (a password of which it told the hash
    only)."""
    if change.before is None:
        assert change.body is not None
        path = _path(change.kind, change.body)
        return Write("DELETE", path, None, path)
    body = schemas.sendable(change.kind, change.before)
    deleted = change.action == "delete"
    if is_hashed(change.kind, change.before):
        secret = HASHED[change.kind]
        if deleted or any(field.path in (secret, "hash_secret") for field in change.fields):
            return None
        body.pop(secret, None)  # it would be hashed again
    return _upsert(change.kind, body, None if deleted else change.before)._replace(may_be_there=deleted)


def _path(kind: str, entity: dict[str, Any]) -> str:
    if kind == "targets":
        return f"/upstreams/{entity['upstream']['id']}/targets/{entity['id']}"
    return f"/{KINDS[kind].path}/{entity['id']}"


def _upsert(kind: str, body: dict[str, Any], before: dict[str, Any] | None) -> Write:
    """before: what is there, None when nothing is."""
    path = _path(kind, body)
    if before is not None and kind in _PATCHED:
        return Write("PATCH", path, {**_PATCHED[kind], **body}, path)
    if before is not None and kind in _DRAWN:
        secret, forget = _DRAWN[kind]
        hashing = body.get("hash_secret") or False
        if body.get(secret) is None and hashing == (before.get("hash_secret") or False):
            # Kong takes hash_secret together with the secret only
            kept = {name: value for name, value in body.items() if name not in (secret, "hash_secret")}
            return Write("PATCH", path, {**forget, **kept}, path)
    if kind == "targets":
        return Write("POST", path.rpartition("/")[0], body, path)
    return Write("PUT", path, body, path)
