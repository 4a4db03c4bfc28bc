"""What Kong makes of an entity's values as it takes them in: shorthands, generated keys, digests."""

from __future__ import annotations

import hashlib
import secrets
import string
import urllib.parse
from typing import Any

from decl.kong import values as field_checks

Entity = dict[str, Any]
_ALPHABET = string.ascii_letters + string.digits


def url_shorthand(service: Entity) -> None:
    """`url` stands for protocol, host, port and path; it is never shown again."""
    url = service.pop("url", None)
    if not isinstance(url, str):
        return
    scheme, found, rest = url.partition("://")
    if not found:
        service.update({"host": None, "path": url})
        return
    parts = urllib.parse.urlsplit(f"//{rest}")
    service["protocol"] = scheme
    service["host"] = parts.hostname
    try:
        port = parts.port
    except ValueError:
        port = None
    service["port"] = port or (443 if scheme == "https" else 80)
    service["path"] = parts.path or None


def hash_shorthand(upstream: Entity) -> None:
    """What an upstream hashes on settles its algorithm, but for those two that do not hash."""
    if upstream.get("algorithm") in ("least-connections", "latency"):
        upstream["hash_on"] = None
    if "hash_on" in upstream:
        if upstream["hash_on"] is None:
            upstream["hash_on"] = "none"
        elif isinstance(upstream["hash_on"], str):
            none = upstream["hash_on"] == "none"
            upstream["algorithm"] = "round-robin" if none else "consistent-hashing"


def route_defaults(route: Entity) -> None:
    """A gRPC route has a default of its own: nothing is stripped."""
    protocols = route.get("protocols")
    if isinstance(protocols, list) and protocols[:1] in (["grpc"], ["grpcs"]):
        route.setdefault("strip_path", False)


def random_key() -> str:
    """A secret as Kong generates it: 32 letters and digits."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(32))


def settle(kind: str, entity: Entity) -> None:
    """Put values into the form that Kong keeps; called when they are known to be well."""
    if kind == "targets":
        entity["target"] = field_checks.full_target(entity["target"])
    elif kind == "keyauth_credentials":
        entity["key"] = entity.get("key") or random_key()
    elif kind == "jwt_secrets":
        entity["key"] = entity.get("key") or random_key()
        entity["secret"] = entity.get("secret") or random_key()
    elif kind == "hmacauth_credentials":
        entity["secret"] = entity.get("secret") or random_key()
    elif kind == "ca_certificates":
        entity["cert_digest"] = entity.get("cert_digest") or _digest(entity["cert"])


def hash_password(entity: Entity) -> None:
    """basic-auth keeps a salted SHA-1 (its own choice): the consumer's id is the salt."""
    salted = entity["password"] + (entity.get("consumer") or {}).get("id", "")
    entity["password"] = hashlib.sha1(salted.encode(), usedforsecurity=False).hexdigest()


def pem_error(kind: str, entity: Entity) -> dict[str, Any]:
    """Errors of certificates and keys that cannot be read, by field."""
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization

    found: dict[str, Any] = {}
    if kind in ("certificates", "ca_certificates") and isinstance(entity.get("cert"), str):
        try:
            x509.load_pem_x509_certificate(entity["cert"].encode())
        except ValueError as e:
            found["cert"] = f"invalid certificate: {e}"
    if kind == "certificates" and isinstance(entity.get("key"), str):
        try:
            serialization.load_pem_private_key(entity["key"].encode(), None)
        except (ValueError, TypeError) as e:
            found["key"] = f"invalid key: {e}"
    if kind == "jwt_secrets" and isinstance(entity.get("rsa_public_key"), str):
        try:
            serialization.load_pem_public_key(entity["rsa_public_key"].encode())
        except ValueError:
            found = {
                "@entity": ["failed conditional validation given value of field 'algorithm'"],
                "rsa_public_key": "invalid key",
            }
    return found


def _digest(pem: str) -> str:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes

    return x509.load_pem_x509_certificate(pem.encode()).fingerprint(hashes.SHA256()).hex()
