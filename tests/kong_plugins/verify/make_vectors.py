"""Writes docs/passport-vectors.json anew, with new keys: python -m tests.kong_plugins.verify.make_vectors"""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

from kong_plugins.engine.facts import Facts, Identity
from kong_plugins.identity.passports import PassportOffice
from kong_plugins.identity.signing import Keyring, b64url, make_key
from kong_plugins.passport.config import parse

PATH = Path(__file__).parents[3] / "docs" / "passport-vectors.json"
NOW = 1_800_000_000
ABOUT = (
    "Passports and what a verifier must make of them at the time `now` (Unix seconds). `jwks` are the keys; the one "
    "with kty oct is the shared secret of HS256. Where `valid` is false, `reason` is the reason of the reference "
    "verifier: others may name it otherwise, but must refuse."
)
FACTS = Facts("4bf92f35", "198.51.100.7", "https", "GET", "h", "/", "/", "r", "s", "t", "", frozenset(), {})
ALICE = Identity("https://auth.example.com", "alice", "jti-1", "orders:read", {"customer_tier": "gold"})


def build() -> dict[str, Any]:
    """All vectors, with keys made now."""
    rings = {alg: Keyring(make_key(alg), alg.lower()) for alg in ("EdDSA", "ES256", "RS256", "HS256")}
    made: list[dict[str, Any]] = []

    def add(name: str, passport: str, reason: str = "", **more: Any) -> None:
        about = {
            "profile": "kgate",
            "audience": "kgate",
            "issuer": "kgate",
            "leeway": 5,
            "now": NOW + 1,
        } | more
        vector = {"name": name, "passport": passport, **about, "valid": not reason}
        made.append(vector | ({"reason": reason} if reason else {"claims": claims_of(passport)}))

    def issue(ring: Keyring = rings["EdDSA"], user: Any = ALICE, facts: Facts = FACTS, **config: Any) -> str:
        raw = {"issuers": ["main"], "claims": {"tier": "customer_tier"}, **config}
        return PassportOffice(ring, "kgate").issue(user, facts, parse(raw), NOW)

    for alg, ring in rings.items():
        add(f"signed with {alg}", issue(ring))
    good = issue()
    add("a subject that is not ASCII", issue(user=ALICE._replace(subject="배민")))
    add("token_only", issue(user=ALICE._replace(level="token_only")))
    add("canary arm and IPv6", issue(facts=FACTS._replace(ip="2001:db8::7", arm="front-v2=canary")))
    add("nobody", issue(user=None))
    txn = issue(profile="txn-token", audience="shop.internal", facts=FACTS._replace(arm="front-v2=control"))
    add("a transaction token", txn, profile="txn-token", audience="shop.internal")
    add("at the last moment of the leeway", good, now=NOW + 64)
    add("from a clock that is 5 s behind", good, now=NOW - 5)
    add("expired", good, "passport_expired", now=NOW + 65)
    add("from the future", good, "passport_not_yet_valid", now=NOW - 6)
    add("for another audience", good, "wrong_audience", audience="bank")
    add("of another issuer", good, "wrong_issuer", issuer="other")
    add("a transaction token where a passport is expected", txn, "wrong_type", audience="shop.internal")
    add("a passport where a transaction token is expected", good, "wrong_type", profile="txn-token")
    head, payload, signature = good.split(".")
    add("another payload", f"{head}.{_part(claims_of(good) | {'sub': 'bob'})}.{signature}", "bad_signature")
    add("no signature", f"{head}.{payload}.", "bad_signature")
    add("signed by another key of that id", issue(Keyring(make_key("EdDSA"), "eddsa")), "bad_signature")
    add("an unknown key", issue(Keyring(make_key("EdDSA"), "other")), "unknown_key")
    add("alg none", _forged(good, alg="none"), "wrong_algorithm")
    confused = Keyring(b"." * 32 + json.dumps(rings["RS256"].public_jwk()).encode(), "rs256")
    add("HS256 with the id of the RSA key", issue(confused), "wrong_algorithm")
    add("a client's token", _signed(rings["EdDSA"], {"typ": "JWT"}, claims_of(good)), "wrong_type")
    crit = _signed(rings["EdDSA"], {"typ": "kgate-passport+jwt", "crit": ["x"], "x": 1}, claims_of(good))
    add("crit", crit, "passport_malformed")
    for name in ("sub", "exp", "iat", "txn", "authn_level"):
        rest = {key: value for key, value in claims_of(good).items() if key != name}
        short = _signed(rings["EdDSA"], {"typ": "kgate-passport+jwt"}, rest)
        add(f"without {name}", short, "claim_missing")
    add("two passports", f"{good},{good}", "passport_malformed")
    add("nothing", "", "passport_missing")
    secret = {"kty": "oct", "k": b64url(rings["HS256"].private_bytes()), "kid": "hs256", "alg": "HS256"}
    keys = [ring.public_jwk() for ring in rings.values() if ring.public_jwk()]
    return {"about": ABOUT, "jwks": {"keys": [*keys, secret]}, "vectors": made}


def claims_of(passport: str) -> dict[str, Any]:
    part = passport.split(".")[1]
    found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return found


def _part(value: Any) -> str:
    return b64url(json.dumps(value, separators=(",", ":")).encode())


def _signed(ring: Keyring, header: dict[str, Any], claims: dict[str, Any]) -> str:
    message = f"{_part({'alg': ring.alg, 'kid': ring.kid, **header})}.{_part(claims)}"
    return f"{message}.{b64url(ring.sign(message.encode()))}"


def _forged(passport: str, **header: Any) -> str:
    head, payload, signature = passport.split(".")
    found = json.loads(base64.urlsafe_b64decode(head + "=" * (-len(head) % 4)))
    return f"{_part(found | header)}.{payload}.{signature}"


if __name__ == "__main__":
    PATH.write_text(json.dumps(build(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
