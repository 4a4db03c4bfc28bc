"""Passports made by hand, with no code of the gateway or of the verifier."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


def b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


class Gateway:
    """A gateway's keys and its passports, right and wrong."""

    secret = b"0123456789" * 4

    def __init__(self) -> None:
        self.key = Ed25519PrivateKey.generate()
        self.other = Ed25519PrivateKey.generate()
        self.now = float(int(time.time()))

    def jwk(self, kid: str = "k1", **more: Any) -> dict[str, Any]:
        x = b64(self.key.public_key().public_bytes_raw())
        return {"kty": "OKP", "crv": "Ed25519", "x": x, "kid": kid, "alg": "EdDSA", "use": "sig"} | more

    def oct(self, **more: Any) -> dict[str, Any]:
        return {"kty": "oct", "k": b64(self.secret), "kid": "h1", "alg": "HS256", "use": "sig"} | more

    def jwks(self) -> dict[str, Any]:
        return {"keys": [self.jwk(), self.oct()]}

    def raw(self, header: Any, payload: bytes, key: Any = None) -> str:
        message = f"{b64(json.dumps(header).encode())}.{b64(payload)}"
        if header.get("alg") == "HS256":
            signature = hmac.digest(key or self.secret, message.encode(), hashlib.sha256)
        else:
            signature = (key or self.key).sign(message.encode())
        return f"{message}.{b64(signature)}"

    def passport(self, header: dict[str, Any] | None = None, key: Any = None, **changes: Any) -> str:
        head = {"alg": "EdDSA", "kid": "k1", "typ": "kgate-passport+jwt"} | (header or {})
        claims = {
            "iss": "kgate",
            "aud": "kgate",
            "iat": self.now,
            "exp": self.now + 60,
            "txn": "req-1",
            "sub": "user-1",
            "sub_iss": "https://a",
            "scope": "read write",
            "ip": "198.51.100.7",
            "authn_level": "full",
            "tier": "gold",
        } | changes
        claims = {name: value for name, value in claims.items() if value is not ...}
        head = {name: value for name, value in head.items() if value is not ...}
        return self.raw(head, json.dumps(claims).encode(), key)


@pytest.fixture(scope="session")
def lasting_gateway() -> Gateway:
    return Gateway()


@pytest.fixture
def gateway(lasting_gateway: Gateway) -> Gateway:
    """The time is each test's own: passports live for a minute, and a run of all tests is longer."""
    lasting_gateway.now = float(int(time.time()))
    return lasting_gateway
