"""Clients' tokens: an ES256 issuer of the bench's own."""

from __future__ import annotations

import json
import time
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec

ISS, AUDIENCE, LIFE = "https://auth.bench.example", "bench", 3600


class Issuer:
    """Signs tokens; `anchor` is the issuer as server.yaml wants it, with its public key inline."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._count = 0

    def anchor(self) -> dict[str, Any]:
        """The issuer `bench` of server.yaml."""
        public = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(self._key.public_key()))
        jwks = {"keys": [{**public, "kid": "bench-1", "alg": "ES256", "use": "sig"}]}
        return {"name": "bench", "iss": ISS, "audiences": [AUDIENCE], "algorithms": ["ES256"], "jwks": jwks}

    def token(self, user: int) -> str:
        """A token that nobody has seen before."""
        self._count += 1
        now = int(time.time())
        claims = {"iss": ISS, "aud": AUDIENCE, "sub": f"user-{user:04}", "jti": f"t{self._count:08}"}
        claims |= {"iat": now, "exp": now + LIFE, "scope": "orders:read orders:write"}
        return jwt.encode(claims, self._key, algorithm="ES256", headers={"kid": "bench-1"})
