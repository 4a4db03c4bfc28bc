"""Keys of an issuer: JSON Web Key Sets (RFC 7517) as values that never change.

A key is usable with one algorithm only (RFC 8725, section 3.1): the one that its `alg` names, else the first
of the issuer's algorithms that fits its type. So an RSA key can never check an HMAC. `Ed25519` is the same algorithm
as `EdDSA` by its fully specified name (RFC 9864); which of the two names a token may use is up to the issuer's
algorithms, its keys may use either.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt.algorithms import Algorithm, get_default_algorithms
from jwt.exceptions import PyJWTError

_CURVES = {"ES256": "secp256r1", "ES384": "secp384r1", "ES512": "secp521r1"}
_HMAC_BYTES = {"HS256": 32, "HS384": 48, "HS512": 64}
"""Least size of an HMAC key, RFC 7518, section 3.2."""
_RSA_BITS = (2048, 8192)
"""RFC 7518, section 3.3 asks for 2048; above 8192 a check costs milliseconds."""
MAX_KEYS = 100

ALGORITHMS: dict[str, Algorithm] = {
    name: algorithm
    for name, algorithm in get_default_algorithms().items()
    if name[:2] in ("RS", "PS") or name in _CURVES or name in _HMAC_BYTES or name == "EdDSA"
}
"""The algorithms by the names that keys have here. Never `none`."""
NAMES = {**{name: name for name in ALGORITHMS}, "Ed25519": "EdDSA"}
"""Every algorithm that an issuer's config may name, and what it is called in ALGORITHMS."""

_BAD_KEY = (PyJWTError, ValueError, TypeError, KeyError, AttributeError, OverflowError, UnsupportedAlgorithm)
"""What PyJWT and cryptography raise for members that make no key."""


class Key(NamedTuple):
    """One verification key; kid is None where its owner gave it none (it then fits any `kid`)."""

    kid: str | None
    alg: str
    material: Any

    def verify(self, message: bytes, signature: bytes) -> bool:
        """Whether `signature` is this key's over `message`."""
        try:
            return ALGORITHMS[self.alg].verify(message, self.material, signature)
        except (PyJWTError, ValueError, TypeError):
            return False

    def __repr__(self) -> str:  # the material may be a secret
        return f"Key(kid={self.kid!r}, alg={self.alg!r})"


class KeySet:
    """The keys of one issuer. `fingerprint` changes when any key does."""

    __slots__ = ("_any", "_index", "fingerprint", "keys")

    def __init__(self, keys: Iterable[Key], fingerprint: str) -> None:
        self.keys = tuple(keys)
        self.fingerprint = fingerprint
        self._index: dict[tuple[str, str], tuple[Key, ...]] = {}
        self._any: dict[str, tuple[Key, ...]] = {}
        for key in self.keys:
            self._any[key.alg] = (*self._any.get(key.alg, ()), key)
            if key.kid is not None:
                place = (key.kid, key.alg)
                self._index[place] = (*self._index.get(place, ()), key)

    def __len__(self) -> int:
        return len(self.keys)

    def __repr__(self) -> str:
        return f"KeySet({', '.join(map(repr, self.keys))})"

    def find(self, kid: str | None, alg: str) -> tuple[Key, ...]:
        """The keys that may have signed a token with this header. Without `kid` that is the one key of
        the algorithm, or none when there are several."""
        if kid is not None:
            named = self._index.get((kid, alg))
            if named:
                return named
            return tuple(key for key in self._any.get(alg, ()) if key.kid is None)
        found = self._any.get(alg, ())
        return found if len(found) == 1 else ()


def single_key(material: Any, algorithms: tuple[str, ...], kid: str | None = None) -> KeySet:
    """A set of one key from a file or a secret.

    Raises ValueError when none of the algorithms fits the key.
    """
    for alg in _canonical(algorithms):
        if _fits(material, alg):
            return KeySet((Key(kid, alg, material),), "static")
    raise ValueError(f"the key is too short or of another type than {', '.join(algorithms)} need")


def parse_jwks(document: Any, algorithms: tuple[str, ...]) -> KeySet:
    """Read a JWKS document. A key that is broken, unknown or not for signatures is left out, as
    RFC 7517, section 5 asks; the first MAX_KEYS are read.

    Raises ValueError when it is no JWKS or holds no usable key at all.
    """
    if not isinstance(document, Mapping) or not isinstance(document.get("keys"), list):
        raise ValueError("not a JWKS: expected an object with a list `keys`")
    read = document["keys"][:MAX_KEYS]
    keys = [key for jwk in read if (key := _parse_jwk(jwk, algorithms)) is not None]
    if not keys:
        raise ValueError(f"no key in it can check {', '.join(algorithms)}")
    canonical = json.dumps([read, algorithms], sort_keys=True).encode()
    return KeySet(keys, hashlib.sha256(canonical).hexdigest())


def _parse_jwk(jwk: Any, algorithms: tuple[str, ...]) -> Key | None:
    if not isinstance(jwk, dict) or jwk.get("use", "sig") != "sig":
        return None
    operations = jwk.get("key_ops", ["verify"])
    if not isinstance(operations, list) or "verify" not in operations:
        return None
    if "d" in jwk:
        return None  # a published private key is everybody's key
    kid = jwk.get("kid")
    if kid is not None and not isinstance(kid, str):
        return None
    usable, named = _canonical(algorithms), jwk.get("alg")
    if isinstance(named, str):
        named = NAMES.get(named, named)
    for alg in usable if named is None else (named,):
        if alg not in usable:
            continue
        try:
            material = ALGORITHMS[alg].from_jwk(jwk)
        except _BAD_KEY:
            continue
        if _fits(material, alg):
            return Key(kid, alg, material)
    return None


def _canonical(algorithms: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(NAMES[alg] for alg in algorithms)


def _fits(material: Any, alg: str) -> bool:
    if alg in _HMAC_BYTES:
        return isinstance(material, bytes) and len(material) >= _HMAC_BYTES[alg]
    if alg in _CURVES:
        return isinstance(material, EllipticCurvePublicKey) and material.curve.name == _CURVES[alg]
    if alg == "EdDSA":
        return isinstance(material, Ed25519PublicKey)
    low, high = _RSA_BITS
    return isinstance(material, RSAPublicKey) and low <= material.key_size <= high
