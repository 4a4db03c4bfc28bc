"""A limit keyed by user counts who a verified token names, and nobody else: through the whole chain."""

import base64
import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from kong_plugins.abuse_guard import trace
from kong_plugins.engine import chain
from kong_plugins.engine.facts import Facts
from kong_plugins.engine.registry import parse_config
from kong_plugins.engine.verdict import Verdict
from kong_plugins.identity.issuers import parse_issuers
from kong_plugins.identity.keyring import Keyring
from kong_plugins.identity.keys import StaticKeys
from kong_plugins.identity.trust import Trust
from kong_plugins.state.base import State
from kong_plugins.state.cells import Cells
from kong_plugins.state.snapshot import empty_snapshot

NOW = 1_800_000_000.0
KEY, STRANGE_KEY = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()


def b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def token(number: int, key: Ed25519PrivateKey) -> str:
    claims = {"iss": "https://a", "aud": "shop", "sub": "alice", "exp": NOW + 600, "jti": f"t{number}"}
    message = f"{b64(json.dumps({'alg': 'EdDSA'}).encode())}.{b64(json.dumps(claims).encode())}"
    return f"{message}.{b64(key.sign(message.encode()))}"


@cache
def forgeries() -> list[str]:
    return [token(number, STRANGE_KEY) for number in range(1000)]


@pytest.fixture
def state() -> State:
    jwk = {"kty": "OKP", "crv": "Ed25519", "x": b64(KEY.public_key().public_bytes_raw())}
    item = {"name": "main", "iss": "https://a", "audiences": ["shop"], "jwks": {"keys": [jwk]}}
    issuers = parse_issuers([item], Path())
    trust = Trust(issuers, StaticKeys({"main": issuers["main"].keys}), Keyring(b"s" * 32))
    return State(empty_snapshot(), trust, {}, Cells.attach(Cells.create(4096)))


@pytest.mark.parametrize("key", ["user", "token"])
@pytest.mark.parametrize("policy", ["local-first", "strict"])
def test_1000_forged_tokens_naming_alice_leave_her_limit_untouched(
    state: State, key: str, policy: str
) -> None:
    limit: dict[str, Any] = {"name": "mine", "key": [key], "rate": 3, "per": 3600, "policy": policy}
    steps = chain.build(
        {
            "abuse-guard": parse_config(
                "abuse-guard", {"limits": [limit], "scenarios": [{"use": "coupon-hammering"}]}
            ),
            "passport": parse_config("passport", {"issuers": ["main"]}),
        }
    )

    def run(text: str) -> Verdict:
        headers = {"authorization": f"Bearer {text}"}
        facts = Facts(
            "r",
            "203.0.113.7",
            "https",
            "POST",
            "h",
            "/order",
            "/order",
            "r",
            "s",
            "t",
            "",
            frozenset(),
            headers,
        )
        found = chain.run(facts, steps, state, NOW)
        if not isinstance(found, Verdict):  # nobody answers: it counts on the node
            found = chain.run(
                facts, steps, state._replace(answers={ask.key: None for ask in found.asks}), NOW, found
            )
        assert isinstance(found, Verdict)
        return found

    for forged in forgeries():
        verdict = run(forged)
        assert verdict.status == 401
        seen = trace.read(verdict.memo)
        assert seen is not None, "a refused login is told to the scenarios too"
        assert seen.user == seen.token == "", "and names nobody"
    found = [run(token(7, KEY)) for _ in range(4)]
    assert [one.status for one in found] == [None, None, None, 429]
    first = trace.read(found[0].memo)
    assert first is not None
    assert first.user == "https://a|alice"
