"""Keys that sign passports: EdDSA (Ed25519), ES256, RS256, HS256; from PEM or a secret, or made anew.

One key signs with one algorithm. Nothing shows a private part: not repr, not pickle, not an error.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

SIGNING_ALGORITHMS = ("EdDSA", "ES256", "RS256", "HS256")
MIN_SECRET = 32
"""Bytes of an HS256 secret (RFC 7518, section 3.2)."""
RSA_BITS = 2048
MIN_RSA_BITS = 2048

PrivateKey = Ed25519PrivateKey | ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | bytes

_SHA256 = hashes.SHA256()
_ECDSA = ec.ECDSA(_SHA256)
_PKCS1 = padding.PKCS1v15()


def b64url(raw: bytes) -> str:
    """Base64url without padding (RFC 7515, section 2)."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _number(value: int, size: int) -> str:
    return b64url(value.to_bytes(size, "big"))


def algorithm_of(key: PrivateKey) -> str:
    """The one algorithm of a key. Raises ValueError for a key that cannot sign passports."""
    if isinstance(key, bytes):
        if len(key) < MIN_SECRET:
            raise ValueError(f"the secret has {len(key)} bytes, HS256 needs {MIN_SECRET}")
        return "HS256"
    if isinstance(key, Ed25519PrivateKey):
        return "EdDSA"
    if isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.name == "secp256r1":
        return "ES256"
    if isinstance(key, rsa.RSAPrivateKey):
        if key.key_size < MIN_RSA_BITS:
            raise ValueError(f"the RSA key has {key.key_size} bits, {MIN_RSA_BITS} are needed")
        return "RS256"
    raise ValueError("expected an Ed25519, P-256 or RSA key")


class Keyring:
    """Signs with one key. Its repr names the key and shows nothing of it."""

    __slots__ = ("_alone", "_key", "alg", "kid")

    def __init__(self, key: PrivateKey, kid: str = "") -> None:
        """key's kind is the algorithm. kid: by default the key's thumbprint (RFC 7638). Raises ValueError."""
        self._key = key
        self.alg = algorithm_of(key)
        self.kid = kid or self._default_kid()
        self._alone = (self,)

    def __repr__(self) -> str:
        return f"Keyring(alg={self.alg!r}, kid={self.kid!r})"

    def __reduce__(self) -> Any:
        raise TypeError("a keyring is not for pickling")

    def sign(self, message: bytes) -> bytes:
        """The signature of `message`, as RFC 7518 and RFC 8037 write it."""
        key = self._key
        if isinstance(key, Ed25519PrivateKey):
            return key.sign(message)
        if isinstance(key, bytes):
            return hmac.digest(key, message, "sha256")
        if isinstance(key, rsa.RSAPrivateKey):
            return key.sign(message, _PKCS1, _SHA256)
        r, s = decode_dss_signature(key.sign(message, _ECDSA))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")

    def public_jwk(self) -> dict[str, Any] | None:
        """What verifiers need; None for HS256: a secret is never published."""
        if isinstance(self._key, bytes):
            return None
        return {**self._members(), "kid": self.kid, "use": "sig", "alg": self.alg}

    # what a signer of passports must offer (see passports.Signer): here one key for all times

    version = 0

    def current(self, now: float) -> Keyring:
        """The key that signs."""
        return self

    def keyrings(self, now: float) -> tuple[Keyring, ...]:
        """The keys that are believed, the one that signs first; the same tuple as long as nothing changes."""
        return self._alone

    def ages(self, now: float) -> dict[str, Any]:
        """For metrics: seconds since the key that signs began to (None: it has no date), and keys by state."""
        return {"age": None, "states": {"current": 1}}

    def derived(self, purpose: bytes) -> bytes:
        """A secret of 32 bytes for another purpose (at most 16 bytes): keyed by this key, and says nothing of it."""
        return hashlib.blake2b(self.private_bytes(), digest_size=32, person=purpose).digest()

    def public_jwks(self, now: float = 0.0) -> dict[str, Any]:
        """What verifiers need, as a JWKS document (RFC 7517)."""
        jwk = self.public_jwk()
        return {"keys": [] if jwk is None else [jwk]}

    def private_bytes(self) -> bytes:
        """The key itself, for sealing or a private file: PEM (PKCS #8), or the secret."""
        if isinstance(self._key, bytes):
            return self._key
        return self._key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )

    def _members(self) -> dict[str, str]:
        """The members that a thumbprint is made of (RFC 7638, section 3.2; RFC 8037, section 2)."""
        key = self._key
        if isinstance(key, Ed25519PrivateKey):
            return {"crv": "Ed25519", "kty": "OKP", "x": b64url(key.public_key().public_bytes_raw())}
        if isinstance(key, rsa.RSAPrivateKey):
            public = key.public_key().public_numbers()
            size = (public.e.bit_length() + 7) // 8
            return {
                "e": _number(public.e, size),
                "kty": "RSA",
                "n": _number(public.n, (key.key_size + 7) // 8),
            }
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        point = key.public_key().public_numbers()
        return {"crv": "P-256", "kty": "EC", "x": _number(point.x, 32), "y": _number(point.y, 32)}

    def _default_kid(self) -> str:
        if isinstance(self._key, bytes):
            return "kgate-hs256"  # a hash of a weak secret would help to guess it
        canonical = json.dumps(self._members(), sort_keys=True, separators=(",", ":"))
        return b64url(hashlib.sha256(canonical.encode()).digest())


def load_key(raw: bytes, alg: str, *, checked: bool = False) -> PrivateKey:
    """The key of PEM (PKCS #8 or the older forms), or for HS256 the secret; white space around it is dropped.
    checked: the numbers of an RSA key were checked before.

    Raises ValueError when it is no key for `alg`; the message holds nothing of it.
    """
    key: Any
    if alg == "HS256":
        key = raw.strip()
    else:
        try:
            key = serialization.load_pem_private_key(
                raw, password=None, unsafe_skip_rsa_key_validation=checked
            )
        except (TypeError, UnsupportedAlgorithm) as error:
            raise ValueError("the PEM key is encrypted or of an unknown kind") from error
        except ValueError as error:
            raise ValueError("expected a private key in PEM") from error
    found = algorithm_of(key)
    if found != alg:
        raise ValueError(f"the key is for {found}, not for {alg}")
    loaded: PrivateKey = key
    return loaded


def make_key(alg: str) -> PrivateKey:
    """A new key. Raises ValueError for an algorithm that passports are not signed with."""
    if alg == "EdDSA":
        return Ed25519PrivateKey.generate()
    if alg == "ES256":
        return ec.generate_private_key(ec.SECP256R1())
    if alg == "RS256":
        return rsa.generate_private_key(65537, RSA_BITS)
    if alg == "HS256":
        return secrets.token_urlsafe(48).encode()
    raise ValueError(f"alg: expected one of {', '.join(SIGNING_ALGORITHMS)}")
