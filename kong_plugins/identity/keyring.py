"""Keyring: the key that signs passports.

    key: {alg: EdDSA, file: keys/passport.pem, generate: true}     PEM, PKCS #8, made when absent
    key: {alg: HS256, secret_file: keys/passport.secret}           32 bytes at least

`kid` names the key to the verifiers; the default for EdDSA is its thumbprint (RFC 7638).
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import json
import os
import re
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from kong_plugins.identity.files import read_file, write_private

_FIELDS = {"alg", "kid", "file", "generate", "secret_file"}
_KID = re.compile(r"[A-Za-z0-9._~-]{1,64}")
MIN_SECRET = 32


def b64url(raw: bytes) -> str:
    """Base64url without padding (RFC 7515, section 2)."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


class Keyring:
    """Signs with one key. Its repr names the key and shows nothing of it."""

    __slots__ = ("_secret", "_signing", "alg", "kid")

    def __init__(self, key: Ed25519PrivateKey | bytes, kid: str = "") -> None:
        """key is an Ed25519 key (EdDSA) or a secret (HS256). Raises ValueError for a short secret."""
        self._signing: Ed25519PrivateKey | None = None
        self._secret = b""
        if isinstance(key, bytes):
            if len(key) < MIN_SECRET:
                raise ValueError(f"the secret has {len(key)} bytes, HS256 needs {MIN_SECRET}")
            self.alg = "HS256"
            self._secret = key
        else:
            self.alg = "EdDSA"
            self._signing = key
        self.kid = kid or self._default_kid()

    def __repr__(self) -> str:
        return f"Keyring(alg={self.alg!r}, kid={self.kid!r})"

    def __reduce__(self) -> Any:
        raise TypeError("a keyring is not for pickling")

    def sign(self, message: bytes) -> bytes:
        """The signature of `message` by the current key."""
        if self._signing is not None:
            return self._signing.sign(message)
        return hmac.digest(self._secret, message, "sha256")

    def public_jwks(self) -> dict[str, Any]:
        """What verifiers need, as a JWKS document. Empty for HS256: a secret is never published."""
        if self._signing is None:
            return {"keys": []}
        return {"keys": [{**self._okp(), "kid": self.kid, "use": "sig", "alg": "EdDSA"}]}

    def _okp(self) -> dict[str, str]:
        assert self._signing is not None
        return {"crv": "Ed25519", "kty": "OKP", "x": b64url(self._signing.public_key().public_bytes_raw())}

    def _default_kid(self) -> str:
        if self._signing is None:
            return "kgate-hs256"  # a hash of a weak secret would help to guess it
        canonical = json.dumps(self._okp(), sort_keys=True, separators=(",", ":"))
        return b64url(hashlib.sha256(canonical.encode()).digest())


def parse_keyring(config: Mapping[str, Any], base_dir: Path) -> Keyring:
    """Load (or, with `generate`, make) the signing key; paths are relative to base_dir.

    Raises ValueError naming the field.
    """
    if not isinstance(config, Mapping):
        raise ValueError("passport.key: expected a map")
    for name in config:
        if name not in _FIELDS:
            raise ValueError(f"passport.key: {name}: unknown field")
    kid = config.get("kid", "")
    if "kid" in config and not (isinstance(kid, str) and _KID.fullmatch(kid)):
        raise ValueError("passport.key: kid: expected up to 64 letters, digits and '._~-'")
    alg = config.get("alg", "EdDSA")
    source = {"EdDSA": "file", "HS256": "secret_file"}.get(alg) if isinstance(alg, str) else None
    if source is None:
        raise ValueError("passport.key: alg: expected EdDSA or HS256")
    other = "secret_file" if source == "file" else "file"
    if other in config:
        raise ValueError(f"passport.key: {other}: is not for {alg}, use {source}")
    generate = config.get("generate", False)
    if not isinstance(generate, bool):
        raise ValueError("passport.key: generate: expected true or false")
    path = config.get(source)
    try:
        if generate and isinstance(path, str) and path:
            _generate(base_dir / path, alg)
        raw = read_file(path, base_dir, private=True)
        return Keyring(_load_pem(raw) if source == "file" else raw.strip(), kid)
    except ValueError as error:
        raise ValueError(f"passport.key: {source}: {error}") from error


def _load_pem(raw: bytes) -> Ed25519PrivateKey:
    try:
        key = serialization.load_pem_private_key(raw, password=None)
    except (TypeError, UnsupportedAlgorithm) as error:
        raise ValueError("the PEM key is encrypted or of an unknown kind") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise ValueError("expected an Ed25519 key")
    return key


def _generate(path: Path, alg: str) -> None:
    """Make the key file unless it is there; of several processes at once the first wins."""
    if path.exists():
        return
    if alg == "EdDSA":
        raw = Ed25519PrivateKey.generate().private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    else:
        raw = secrets.token_urlsafe(48).encode() + b"\n"
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        scratch = write_private(path, raw)
        # a link fails where a rename would replace another process's key
        with contextlib.suppress(FileExistsError):
            os.link(scratch, path)
        scratch.unlink()
    except OSError as error:
        raise ValueError(f"cannot write {path}: {error.strerror}") from error
