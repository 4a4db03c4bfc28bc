"""Verify a passport in a front server.

    keys = PassportKeys(json.load(open("passport-jwks.json")))
    passport = verify_passport(request.headers.get("X-Passport", ""), keys, "kgate")
    passport.subject, passport.scopes, passport.claims["tier"]

The gateway removes every X-Passport that a client sends, but a front server must not rest on that: it
verifies the signature and answers 401 otherwise.
"""

from __future__ import annotations

import json
import time  # noqa: TID251 - this runs in front servers; `now` can still be given
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import jwt

TYPE = "kgate-passport+jwt"
ALGORITHMS = ("EdDSA", "HS256")
"""What a gateway's keyring may sign with."""
MAX_PASSPORT = 4096
MIN_SECRET = 32


class PassportError(Exception):
    """There is no valid passport. `reason` is a stable id and holds nothing of the input."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Passport:
    """A verified passport. `issuer` and `subject` name the user: who vouches for the user, and the user's id
    there. `txn` is the request that the passport was made for; expires is Unix time in seconds."""

    subject: str
    issuer: str
    scope: str
    txn: str
    ip: str
    authn_level: str
    audience: str
    expires: float
    claims: Mapping[str, Any] = field(hash=False)

    @property
    def scopes(self) -> frozenset[str]:
        """The single scopes."""
        return frozenset(self.scope.split())


class PassportKeys:
    """The gateway's public keys, from its JWKS document. Make it once, not for each request.

    Each key checks its own algorithm only. Keys for other uses are passed over; ValueError when none is left.
    """

    def __init__(self, jwks: Mapping[str, Any]) -> None:
        listed = jwks.get("keys") if isinstance(jwks, Mapping) else None
        if not isinstance(listed, list):
            raise ValueError("jwks: expected an object with a list `keys`")
        self._keys: dict[str, jwt.PyJWK] = {}
        for item in listed:
            key = _key(item)
            if key is not None:
                self._keys[item["kid"]] = key
        if not self._keys:
            raise ValueError("jwks: holds no key that a passport could be signed with")

    def find(self, kid: Any) -> jwt.PyJWK | None:
        """The key of this id."""
        return self._keys.get(kid) if isinstance(kid, str) else None

    def __repr__(self) -> str:
        return f"PassportKeys({', '.join(self._keys)})"


def _key(item: Any) -> jwt.PyJWK | None:
    if not isinstance(item, dict) or not isinstance(item.get("kid"), str) or item.get("use", "sig") != "sig":
        return None
    if "alg" in item and item["alg"] not in ALGORITHMS:
        return None
    try:
        key = jwt.PyJWK({name: value for name, value in item.items() if name != "d"})
    except (jwt.PyJWTError, ValueError, TypeError, KeyError, AttributeError):
        return None
    if key.algorithm_name not in ALGORITHMS:
        return None
    if isinstance(key.key, bytes) and len(key.key) < MIN_SECRET:
        return None
    return key


def verify_passport(
    token: str,
    jwks: Mapping[str, Any] | PassportKeys,
    audience: str,
    *,
    issuer: str = "kgate",
    leeway: float = 5,
    now: float | None = None,
) -> Passport:
    """Check signature, type, issuer, audience and time of a passport.

    audience is what the route's passport config says; leeway and now are seconds. Raises PassportError for
    any token, ValueError only for a useless JWKS.
    """
    keys = jwks if isinstance(jwks, PassportKeys) else PassportKeys(jwks)
    if not token:
        raise PassportError("passport_missing")
    claims = _open(token, keys)
    now = time.time() if now is None else now
    if claims.get("iss") != issuer:
        raise PassportError("wrong_issuer")
    if claims.get("aud") != audience:
        raise PassportError("wrong_audience")
    issued, expires = _seconds(claims, "iat"), _seconds(claims, "exp")
    if now >= expires + leeway:
        raise PassportError("passport_expired")
    if now < issued - leeway:
        raise PassportError("passport_not_yet_valid")
    return Passport(
        subject=_text(claims, "sub"),
        issuer=_text(claims, "sub_iss"),
        scope=_text(claims, "scope", required=False),
        txn=_text(claims, "txn"),
        ip=_text(claims, "ip", required=False),
        authn_level=_text(claims, "authn_level"),
        audience=audience,
        expires=expires,
        claims=claims,
    )


def _open(token: str, keys: PassportKeys) -> dict[str, Any]:
    """The claims, once the signature holds."""
    if not isinstance(token, str) or not token.isascii() or len(token) > MAX_PASSPORT:
        raise PassportError("passport_malformed")
    try:
        header = jwt.get_unverified_header(token)
        key = keys.find(header.get("kid"))
        if key is None:
            raise PassportError("unknown_key")
        if header.get("typ") != TYPE:
            raise PassportError("wrong_type")
        # PyJWT also compares the header's `alg` with the key's, and refuses `crit` and `b64`
        payload = jwt.PyJWS().decode(token, key, algorithms=[key.algorithm_name])
        claims = json.loads(payload)
    except jwt.InvalidSignatureError:
        raise PassportError("bad_signature") from None
    except jwt.InvalidAlgorithmError:
        raise PassportError("wrong_algorithm") from None
    except (jwt.PyJWTError, ValueError, TypeError, RecursionError):
        raise PassportError("passport_malformed") from None
    if not isinstance(claims, dict):
        raise PassportError("passport_malformed")
    return claims


def _seconds(claims: dict[str, Any], name: str) -> float:
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 2**53:
        raise PassportError("claim_missing")
    return float(value)


def _text(claims: dict[str, Any], name: str, *, required: bool = True) -> str:
    value = claims.get(name, "")
    if not isinstance(value, str) or (required and not value):
        raise PassportError("claim_missing")
    return value
