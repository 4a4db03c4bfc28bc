"""kgate explain, against a real Redis: the real filters on the live state."""

from __future__ import annotations

import json
import re
import time
from hashlib import blake2b
from pathlib import Path
from typing import Any

import jwt
import pytest
import redis
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from kong_plugins.abuse_guard.trace import hash_of_user
from kong_plugins.engine import chain
from kong_plugins.engine.ask import Ask
from kong_plugins.engine.facts import Identity
from kong_plugins.identity.keyring import Keyring
from kong_plugins.state.connection import key_prefix
from kong_plugins.state.limit_board import board_key
from kong_plugins.state.marks import Mark, mark_data
from kong_plugins.state.records import Put, Record

ISS = "https://auth.example.com"
KEY = Ed25519PrivateKey.generate()
RING = Keyring(KEY)
URL = "https://shop.example.com/cart"


def token(subject: str = "kim", seconds: float = 86_400, **claims: Any) -> str:
    now = int(time.time())
    payload = {
        "iss": ISS,
        "sub": subject,
        "aud": "shop",
        "iat": now - 5,
        "exp": int(now + seconds),
        "jti": "4711",
    }
    return jwt.encode({**payload, **claims}, KEY, "EdDSA", headers={"kid": RING.kid})  # fmt: skip


@pytest.fixture
def explained(kgate: Any, shop_dir: Path) -> Any:
    Path("jwks.json").write_text(json.dumps(RING.public_jwks()))

    def run(*options: str) -> dict[str, Any]:
        found = kgate.json("explain", "--url", URL, "--jwks", "jwks.json", *options)
        assert isinstance(found, dict)
        return found

    return run


KIM = ["--token", token()]
NO_ID = ["--token", token(jti="x" * 41)]
HASH = "#" + blake2b(NO_ID[1].encode(), digest_size=32).hexdigest()[:16]
"""What a token with an id too long to send along is known by."""
LONG = ["--token", token("k" * 200)]
LONG_HASH = hash_of_user(Identity(ISS, "k" * 200))


@pytest.mark.parametrize(
    ("before", "options", "status", "plugin", "rule", "why"),
    [
        ([], ["--ip", "203.0.113.7"], None, "", "", "goes on to service cart"),
        (["block add 203.0.113.0/24 --reason scans"], ["--ip", "203.0.113.7"], 403, "abuse-guard", "ip_blocked",
         "block 203.0.113.0/24  without end  by kim  scans"),
        (["block add agent:badbot"], ["-H", "User-Agent: a BadBot/1"], 403, "abuse-guard", "agent_blocked",
         "block agent:badbot"),
        (["block add user:kim"], KIM, 403, "abuse-guard", "user_blocked", "block user:kim  without end"),
        (["block add token:4711"], KIM, 403, "abuse-guard", "token_blocked", "block token:4711"),
        (["passport revoke --issuer https://auth.example.com --subject kim"], KIM, 401, "passport",
         "subject_revoked", "revoked: subject kim of https://auth.example.com  until 2"),
        (["passport revoke --issuer https://auth.example.com --token-id 4711 --reason lost"], KIM, 401, "passport",
         "token_revoked", "by kim  lost"),
        (["passport revoke --issuer https://auth.example.com --before now --reason leak"], KIM, 401, "passport",
         "issued_before", "UTC of https://auth.example.com  until 2"),
        ([], ["--token", token(seconds=-100)], 401, "passport", "token_expired", "The token has expired."),
        ([], ["--token", "a.b.c"], 401, "passport", "token_malformed", "base64url"),
        ([], KIM, None, "", "canary_user", "goes on to upstream cart-v2 in place of service cart"),
        (["canary pause checkout-v2"], KIM, None, "", "canary_paused", "goes on to service cart"),
        (["fallback force service:cart --reason db"], [], 200, "static-fallback", "fallback_forced",
         "fallback forced for service:cart  without end  by kim  db"),
        (["breaker open tenant:shop"], [], 200, "static-fallback", "fallback_open",
         "breaker of tenant:shop held open"),
    ],
)  # fmt: skip
def test_which_rule_decides(
    kgate: Any, explained: Any, before: list[str], options: list[str], status: int | None, plugin: str,
    rule: str, why: str,
) -> None:  # fmt: skip
    for command in before:
        kgate.ok(*command.split())
    found = explained(*options)
    assert (found["status"], found["plugin"], found["rule"]) == (status, plugin, rule)
    assert why in found["why"]
    assert (found["route"], found["service"], found["tenant"]) == ("cart", "cart", "shop")
    assert found["version"] == kgate.store.version()
    assert found["steps"][-1]["outcome"] == ("exit" if status else "effects")
    shown = kgate.ok("explain", "--url", URL, "--jwks", "jwks.json", *options)
    assert shown.startswith("route cart, service cart of tenant shop; control state ")
    assert (f"answered {status} by {plugin}, rule {rule}: " if status else "passes: goes on to ") in shown


def test_the_steps_of_a_good_request(explained: Any) -> None:
    found = explained("--token", token(), "--ip", "::ffff:203.0.113.7")
    steps = [(step["plugin"], step["outcome"], step["rule"]) for step in found["steps"]]
    assert [step for step in steps if step[0] != "passport"] == [
        ("abuse-guard", "pass", ""),
        ("abuse-guard", "pass", ""),
        ("canary-router", "effects", "canary_user"),
        ("static-fallback", "effects", ""),
    ]
    assert steps[1] == ("passport", "effects", "")
    assert found["ip"] == "203.0.113.7"
    assert (found["arm"], found["upstream"]) == ("checkout-v2=canary", "cart-v2")
    assert sorted(found["set_headers"]) == ["X-Canary", "X-Passport"]
    said = " ".join(step["why"] for step in found["steps"] if step["plugin"] == "passport")
    assert f"user {ISS}|kim is verified" in said
    assert "a passport is issued" in said


@pytest.mark.parametrize(
    ("url", "options", "route"),
    [
        ("http://shop.example.com/cart/1?x=%20", [], "cart"),
        ("http://shop.example.com/a/../cart", [], "cart"),
        ("http://shop.example.com:80/cart", [], "cart"),
        ("http://127.0.0.1:8000/cart", ["-H", "Host: shop.example.com"], "cart"),
        ("http://shop.example.com/other", [], None),
        ("http://other.example.com/cart", [], None),
    ],
)
def test_the_route(kgate: Any, shop_dir: Path, url: str, options: list[str], route: str | None) -> None:
    found = kgate.json("explain", "--url", url, *options)
    assert found["route"] == route
    if route is None:
        assert (found["status"], found["rule"]) == (404, "no_route")
        assert "Kong answers 404" in kgate.ok("explain", "--url", url, *options)


def test_notes(kgate: Any, shop_dir: Path) -> None:
    kgate.ok("allow", "add", "203.0.113.0/24")
    kgate.ok("breaker", "close", "route:cart")
    notes = kgate.json("explain", "--url", URL, "--ip", "203.0.113.7", "--token", token())["notes"]
    assert notes[0] == "address 203.0.113.7 is allowed by 203.0.113.0/24 (kgate allow)"
    assert notes[1].startswith("breaker of route:cart held closed")
    assert notes[2].startswith("keys of issuer main could not be fetched")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--url", "shop.example.com/cart"], "--url 'shop.example.com/cart': write it whole"),
        (["--url", "http://h:99999/"], "--url 'http://h:99999/': "),
        (["--url", "http://shop.example.com/%zz"], "--url 'http://shop.example.com/%zz': nginx refuses"),
        (["--url", URL, "--ip", "1.2.3"], "--ip: '1.2.3'"),
        (["--url", URL, "-H", "nope"], "--header 'nope': write it as"),
        (["--url", URL, "--token", "@none"], "--token @none: "),
        (["--url", URL, "--jwks", "none.json"], "--jwks none.json: "),
        (["--url", URL, "--jwks", "x=gateway.yaml"], "--jwks: there is no issuer 'x'; the files have main"),
        (["--url", URL, "--cluster", "none"], "there is no cluster 'none'"),
    ],
)
def test_bad_input_is_one_line(kgate: Any, shop_dir: Path, options: list[str], says: str) -> None:
    assert kgate.refused(2, "explain", *options).startswith(says)


def test_files_with_errors(kgate: Any, shop_dir: Path) -> None:
    Path("gateway.yaml").write_text("services: 5\n")
    result = kgate("explain", "--url", URL)
    assert (result.exit_code, result.stdout) == (4, "")
    assert "gateway.yaml:1:" in result.stderr
    assert kgate.json("explain", "--url", URL, code=4)["errors"] > 0


def test_a_rule_that_asks_outside_is_told(
    monkeypatch: pytest.MonkeyPatch, kgate: Any, shop_dir: Path
) -> None:
    steps = tuple(
        step._replace(decide=lambda *_: Ask("redis", "limit a")) if step.plugin == "static-fallback" else step
        for step in chain.WITH_CANARY
    )
    monkeypatch.setattr(chain, "WITH_CANARY", steps)
    found = kgate.json("explain", "--url", URL)
    assert (found["status"], found["rule"]) == (None, "asks")
    assert found["why"].startswith("needs an answer from outside (redis)")
    assert found["steps"][-1] == {
        "plugin": "static-fallback", "outcome": "ask", "rule": "redis", "why": "asks redis for limit a",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("limits", "refused", "options", "status", "steps"),
    [
        ([("per-ip", "ip", "local-first")], [], [], None, ["effects"]),
        ([("per-ip", "ip", "local-first")], [("per-ip ip=203.0.113.7", 90.0)], [], 429, ["exit"]),
        ([("per-ip", "ip", "local-first")], [("per-ip ip=203.0.113.8", 90.0)], [], None, ["effects"]),
        ([("per-ip", "ip", "local-first")], [("per-ip ip=203.0.113.7", 0.0)], [], None, ["effects"]),
        ([("per-ip", "ip", "strict")], [("per-ip ip=203.0.113.7", 90.0)], [], 429, ["exit"]),
        ([("per-ip", "ip", "strict")], [], [], None, ["effects"]),
        ([("per-ip", "ip", "strict"), ("per-user", "user", "local-first")], [(f"per-user user={ISS}|kim", 90.0)],
         KIM, 429, ["effects", "exit"]),
        ([("a", "ip", "strict"), ("b", "ip", "local-first")], [("b ip=203.0.113.7", 90.0)], [], 429, ["exit"]),
        ([("a", "ip", "strict"), ("b", "ip", "local-first")], [("a ip=203.0.113.7", 90.0)], [], 429, ["exit"]),
        ([("a", "ip", "strict"), ("b", "ip", "local-first")], [], [], None, ["effects"]),
    ],
)  # fmt: skip
def test_what_a_limit_refuses(
    kgate: Any, explained: Any, limits: list[tuple[str, str, str]], refused: list[tuple[str, float]],
    options: list[str], status: int | None, steps: list[str],
) -> None:  # fmt: skip
    """As a node tells it: with the seconds until the next request is admitted."""
    held = [
        {"name": name, "key": [key], "rate": 5, "per": 100, "policy": policy} for name, key, policy in limits
    ]
    text, plugin = Path("gateway.yaml").read_text(), {"name": "abuse-guard", "config": {"limits": held}}
    Path("gateway.yaml").write_text(text.replace("{name: abuse-guard}", json.dumps(plugin)))
    rows = [[key, 3, wait, 5, 20.0] for key, wait in refused]
    with redis.Redis.from_url(kgate.url) as client:
        client.hset(board_key(key_prefix(kgate.namespace)), "aa", json.dumps([int(time.time()), rows]))
    found = explained("--ip", "203.0.113.7", *options)
    assert found["status"] == status
    said = [each["outcome"] for each in found["steps"] if each["plugin"] == "abuse-guard"]
    assert said[: len(steps)] == steps
    if status:
        assert (found["plugin"], found["rule"]) == ("abuse-guard", "rate_limited")
        assert found["steps"][-1]["why"] == found["why"]
        # less what has passed since the node told it
        assert re.search(r"Try again in (8\d|90) s\.", found["why"])


@pytest.mark.parametrize(
    ("config", "before", "options", "rule", "why"),
    [
        ({"deny": ["203.0.113.0/24"]}, [], [], "ip_denied", "address 203.0.113.7 is in the config's deny"),
        ({"deny_lists": ["none", "bad"]}, ["list import bad.txt --name bad --kind addresses"], [], "ip_denied",
         "in the list bad of the config's deny_lists"),
        ({"deny_lists": ["bad"]}, ["list import users.txt --name bad --kind users"], KIM, "user_denied",
         "in the list bad of the config's deny_lists"),
        ({}, [f"block add token:{HASH}"], NO_ID, "token_blocked", f"block token:{HASH}"),
        ({}, [f"block add user:{LONG_HASH}"], LONG, "user_blocked", f"block user:{LONG_HASH}"),
        ({}, ["mark long 45 0"], LONG, "", "goes on"),
        ({}, ["mark user 45 0"], KIM, "", "goes on"),
        ({}, ["mark ip 45 0.5", "refused"], [], "scenario_limited",
         "ip 203.0.113.7 is marked by orders, coupons: score 45, 0.5 requests a second, without end"),
    ],
    # a token's hash is another one in each process
    ids=["deny", "deny_lists", "users", "token", "long", "mark-long", "mark", "limited"],
)  # fmt: skip
def test_what_stands_behind_a_refusal(
    kgate: Any, explained: Any, config: dict[str, Any], before: list[str], options: list[str], rule: str, why: str
) -> None:  # fmt: skip
    plugin = {"name": "abuse-guard", "config": config}
    text = Path("gateway.yaml").read_text()
    Path("gateway.yaml").write_text(text.replace("{name: abuse-guard}", json.dumps(plugin)))
    Path("bad.txt").write_text("203.0.113.7\n")
    Path("users.txt").write_text(f"{ISS}|kim\n")
    for command in before:
        if command == "refused":
            rows = [["mark ip 203.0.113.7", 3, 9.0, 5, 2.0]]
            with redis.Redis.from_url(kgate.url) as client:
                client.hset(
                    board_key(key_prefix(kgate.namespace)), "aa", json.dumps([int(time.time()), rows])
                )
        elif command.startswith("mark "):
            _, kind, score, limit = command.split()
            key = {"ip": "ip 203.0.113.7", "user": f"user {ISS}|kim", "long": f"user {LONG_HASH}"}[kind]
            mark = Mark(key, int(score), ("orders", "coupons"), float(limit))
            kgate.store.apply([Put(Record("marks", key, mark_data(mark)))])
        else:
            kgate.ok(*command.split())
    found = explained("--ip", "203.0.113.7", *options)
    assert (found["rule"] if found["status"] else "") == rule
    assert why in found["why"]
    if "goes on" in why:
        words = [each["why"] for each in found["steps"] if each["plugin"] == "abuse-guard"]
        name = LONG_HASH if "mark long 45 0" in before else f"{ISS}|kim"
        assert words[-1] == f"user {name} is marked by orders, coupons: score 45, without end"
