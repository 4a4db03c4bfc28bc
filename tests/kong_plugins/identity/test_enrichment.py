"""Enrichment: the first passport is made of the token alone, later ones of more; an issuer that is away is said."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from kong_plugins.engine.facts import Identity
from kong_plugins.identity.enrich_config import parse_enrich
from kong_plugins.identity.enrichment import (
    FAILURES,
    NO_ANSWER_SECONDS,
    OPEN_SECONDS,
    Breaker,
    Enricher,
    TokenInactive,
)
from kong_plugins.identity.http_get import FetchError
from kong_plugins.identity.trust_config import build_trust

NOW = 1_800_000_000.0
ALICE = Identity("https://a", "alice", "", "read", {"sub": "alice", "grade": "token"})
DIGEST = b"d" * 32


class Time:
    now = NOW

    def __call__(self):
        return self.now


@pytest.fixture
def make(key_server):
    """An enricher of a real server whose threads do not run: `answer` does what they would."""

    def make(**config):
        time = Time()
        raw = {"url": key_server.url, "claims": ["grade", "roles"], "ttl": 60, "stale_for": 600} | config
        made = Enricher("main", parse_enrich(raw, Path()), clock=time)
        made.time = time

        def look(later=0.0, token="t", who=ALICE):
            time.now = NOW + later
            found = made.of(DIGEST, token, who, time.now)
            return found.level, found.claims.get("roles")

        made.look, made.answer = look, lambda: made.ask_now(DIGEST, "t", 0.0)
        return made

    return make


def test_the_token_alone_then_more(make, key_server):
    enricher = make()
    key_server.serve({"grade": "gold", "roles": ["courier"], "email": "a@example.com"})
    assert enricher.look() == ("token_only", None)
    enricher.answer()
    assert enricher.look(1) == ("full", ["courier"])
    found = enricher.of(DIGEST, "t", ALICE, NOW + 2)
    assert found.claims == {"sub": "alice", "grade": "token", "roles": ["courier"]}, "the token's own stay"
    assert enricher.of(DIGEST, "t", ALICE, NOW + 3) is found, "one value while nothing changes"


def test_an_old_answer_serves_while_a_new_one_is_asked_for(make, key_server):
    enricher = make()
    key_server.serve({"roles": ["a"]})
    enricher.look()
    enricher.answer()
    assert enricher.look(60) == ("full", ["a"])
    key_server.answer = (503, {}, b"")
    enricher.answer()
    assert enricher.look(63) == ("stale", ["a"])
    assert enricher.look(659) == ("stale", ["a"])
    assert enricher.look(660) == ("token_only", None)
    key_server.serve({"roles": ["b"]})
    enricher.answer()
    assert enricher.look(661) == ("full", ["b"])


@pytest.mark.parametrize(
    "answer",
    [
        (500, {}, b""),
        (200, {}, b""),
        (200, {}, b"[]"),
        (200, {}, b"<html>"),
        (200, {}, b'{"roles":1,"roles":2}'),
        (200, {}, b'"x"' * 30_000),
        (302, {"Location": "http://127.0.0.1:1/"}, b""),
    ],
)
def test_garbage_is_no_answer(make, key_server, answer):
    enricher = make()
    enricher.look()
    key_server.answer = answer
    enricher.answer()
    assert enricher.look(1) == ("token_only", None)


def test_a_user_that_the_issuer_does_not_know_is_not_asked_for_again_at_once(make, key_server):
    enricher = make()
    key_server.answer = (404, {}, b"")
    for _ in range(FAILURES + 1):
        enricher.answer()
    assert not enricher.breaker.is_open
    assert enricher.look(1) == ("token_only", None)
    enricher._started = True
    enricher.look(NO_ANSWER_SECONDS + 2)
    assert enricher._waiting.empty()
    enricher.look(61)
    assert not enricher._waiting.empty()
    enricher._started = False


def test_one_question_for_many_requests(make):
    enricher = make()
    enricher._started = True
    for later in range(3):
        enricher.look(later)
    assert enricher._waiting.qsize() == 1
    enricher.look(NO_ANSWER_SECONDS + 1)
    assert enricher._waiting.qsize() == 2
    enricher._started = False


def waiting(enricher, later=0.0):
    enricher.look(later)
    return round(enricher.wait_for(DIGEST, NOW + later), 3)


def test_the_first_request_waits_and_no_longer_than_it_may(make, key_server):
    enricher = make(wait_ms=80)
    assert waiting(enricher) == 0, "no thread would ask"
    enricher = make(wait_ms=80)
    enricher._started = True
    assert waiting(enricher) == 0.08
    assert waiting(enricher, 0.05) == 0.03, "the second request of the token waits until the same moment"
    assert waiting(enricher, 0.09) < 0
    assert waiting(enricher, -5) == 0, "the clock was set back"
    key_server.serve({"roles": ["a"]})
    enricher.answer()
    assert waiting(enricher, 0.01) == 0, "it is there"
    assert waiting(enricher, 61) == 0, "the old answer serves while a new one is asked for"
    enricher._started = False


def test_nobody_waits_for_an_answer_that_will_not_come(make, key_server):
    enricher = make(wait_ms=80)
    enricher._started = True
    assert waiting(enricher) == 0.08
    key_server.answer = (503, {}, b"")
    enricher.answer()
    assert waiting(enricher, 0.01) == 0, "it has failed"
    for _ in range(FAILURES):
        enricher.answer()
    assert waiting(enricher, NO_ANSWER_SECONDS + 1) == 0, "the breaker is open"
    assert enricher.counts.take() == {"failed": FAILURES, "skipped": 1}
    assert enricher.counts.take() == {}
    assert make().wait_for(DIGEST, NOW) == 0, "it is not the default"
    enricher._started = False


def test_more_tokens_than_can_be_asked_for_do_not_wait(make, monkeypatch):
    monkeypatch.setattr("kong_plugins.identity.enrichment.MOST_WAITING", 1)
    enricher = make(wait_ms=80)
    enricher._started = True
    assert waiting(enricher) == 0.08
    other = b"o" * 32
    enricher.of(other, "t2", ALICE, NOW)
    assert enricher.wait_for(other, NOW) == 0
    enricher._started = False


def test_the_breaker_stops_asking_and_probes():
    breaker = Breaker()
    for _ in range(FAILURES):
        assert breaker.allow(0)
        breaker.bad(0)
    assert breaker.is_open
    assert [breaker.allow(t) for t in (0, OPEN_SECONDS - 1, OPEN_SECONDS, OPEN_SECONDS + 1)] == [
        False,
        False,
        True,
        False,
    ]
    breaker.good()
    assert breaker.allow(OPEN_SECONDS + 1)


def test_an_issuer_that_is_away_is_asked_no_more_than_the_breaker_lets(key_server):
    asked = []

    def away(*_):
        asked.append(1)
        raise FetchError("refused")

    config = parse_enrich({"url": key_server.url, "claims": ["grade"]}, Path())
    enricher = Enricher("main", config, fetch=away)
    for _ in range(50):
        enricher.ask_now(DIGEST, "t", 1.0)
    assert len(asked) == FAILURES


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"active": True, "roles": ["a"]}, ("full", ["a"])),
        ({"active": False}, None),
        ({"roles": ["a"]}, ("token_only", None)),
        ({"active": "yes", "roles": ["a"]}, ("token_only", None)),
    ],
)
def test_introspection(make, key_server, monkeypatch, body, expected):
    seen = {}

    def answer(handler):
        seen["body"] = handler.rfile.read(int(handler.headers["Content-Length"]))
        seen["authorization"] = handler.headers["Authorization"]
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.write(json.dumps(body).encode())

    monkeypatch.setenv("CLIENT_SECRET", "p:w&d")
    enricher = make(kind="introspection", client_id="kgate", client_secret_env="CLIENT_SECRET")
    key_server.answer = answer
    enricher.look()
    enricher.answer()
    assert seen["body"] == b"token=t&token_type_hint=access_token"
    assert base64.b64decode(seen["authorization"].split()[1]) == b"kgate:p%3Aw%26d"
    if expected is None:
        with pytest.raises(TokenInactive):
            enricher.look(1)
    else:
        assert enricher.look(1) == expected


def test_through_trust_with_its_threads(mint, key_server, tmp_path):
    """The request path never waits: it is the thread that asks."""
    key_server.serve({"roles": ["courier"]})
    item = mint.issuer(enrich={"url": key_server.url, "claims": ["roles"]})
    trust = build_trust({"issuers": [item]}, tmp_path, tmp_path)
    enricher = trust._enrichers[mint.iss]
    enricher._clock = lambda: NOW
    trust.start()
    try:
        token = mint.token()
        assert trust.verify(token, ("main",), NOW).level == "token_only"
        found = enricher._answers.get(timeout=30)
        enricher._answers.put(found)
        assert trust.verify(token, ("main",), NOW + 1).claims["roles"] == ["courier"]
    finally:
        trust.stop()


@pytest.mark.parametrize(
    ("raw", "field"),
    [
        ([], "enrich: "),
        ({}, "enrich.claims"),
        ({"claims": []}, "enrich.claims"),
        ({"claims": ["sub"]}, "enrich.claims: sub can come from the token alone"),
        ({"claims": ["scope"]}, "enrich.claims"),
        ({"claims": [1]}, "enrich.claims"),
        ({"claims": ["a"]}, "enrich.url"),
        ({"claims": ["a"], "url": "file:///etc/passwd"}, "enrich.url"),
        ({"claims": ["a"], "url": "http://a", "timeout": 0}, "enrich.timeout"),
        ({"claims": ["a"], "url": "http://a", "kind": "ldap"}, "enrich.kind"),
        ({"claims": ["a"], "url": "http://a", "client_id": "x"}, "enrich.client_id"),
        ({"claims": ["a"], "url": "http://a", "kind": "introspection", "client_id": "x"}, "enrich.client_id"),
        ({"claims": ["a"], "url": "http://a", "client_secret_env": "NOT_SET"}, "enrich.client_secret_env"),
        ({"claims": ["a"], "url": "http://a", "client_secret_file": "gone"}, "enrich.client_secret_file"),
        ({"claims": ["a"], "url": "http://a", "wait": 5}, "enrich.wait: unknown"),
        ({"claims": ["a"], "url": "http://a", "wait_ms": 101}, "enrich.wait_ms: expected milliseconds"),
        ({"claims": ["a"], "url": "http://a", "wait_ms": True}, "enrich.wait_ms"),
        ({"claims": ["a"], "url": "http://a", "wait_ms": "50ms"}, "enrich.wait_ms"),
    ],
    ids=str,
)
def test_refused(raw, field, mint):
    with pytest.raises(ValueError, match=f"^issuer main: {field}"):
        mint.issuers(enrich=raw)
