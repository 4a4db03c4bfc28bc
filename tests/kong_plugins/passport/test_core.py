"""Passport's decisions, with real tokens and a real Trust."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from kong_plugins.engine import chain
from kong_plugins.engine.ask import Ask
from kong_plugins.engine.facts import Facts
from kong_plugins.engine.registry import parse_config
from kong_plugins.engine.verdict import Verdict
from kong_plugins.identity.issuers import parse_issuers
from kong_plugins.identity.keyring import Keyring
from kong_plugins.identity.keys import StaticKeys
from kong_plugins.identity.ring import Ring
from kong_plugins.identity.trust import Trust
from kong_plugins.passport.config import parse
from kong_plugins.passport.core import ASK_KIND, decide, identify
from kong_plugins.state.base import CanaryOverride, State
from kong_plugins.state.records import Record, StateDump
from kong_plugins.state.snapshot import build, empty_snapshot, snapshot_of_dump

NOW = 1_800_000_000.0
KEY = Ed25519PrivateKey.generate()
CHALLENGE = re.compile(r'Bearer realm="kgate"(, error="invalid_token", error_description="[^"\\]+")?')


def b64(raw):
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def make_token(**changes):
    claims = {"iss": "https://a", "aud": "shop", "sub": "user-1", "exp": NOW + 600, "tier": "gold"} | changes
    message = f"{b64(json.dumps({'alg': 'EdDSA'}).encode())}.{b64(json.dumps(claims).encode())}"
    return f"{message}.{b64(KEY.sign(message.encode()))}"


def make_state(with_keys=True):
    jwk = {"kty": "OKP", "crv": "Ed25519", "x": b64(KEY.public_key().public_bytes_raw())}
    item = {"name": "main", "iss": "https://a", "audiences": ["shop"], "jwks": {"keys": [jwk]}}
    issuers = parse_issuers([item], Path())
    keys = {"main": issuers["main"].keys} if with_keys else {}
    return State(empty_snapshot(), Trust(issuers, StaticKeys(keys), Keyring(b"s" * 32)))


STATE = make_state()
TOKEN = make_token()


def request(authorization=None, method="GET", truncated=(), **headers):
    if authorization is not None:
        headers["authorization"] = authorization
    fixed = ("req-1", "198.51.100.7", "https", method, "h", "/", "/", "r", "s", "t", "")
    return Facts(*fixed, frozenset(truncated), headers)


def ask(facts, state=STATE, **config):
    return decide(facts, parse({"issuers": ["main"]} | config), state, NOW)


def read(passport):
    part = passport.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))


@pytest.mark.parametrize(
    "authorization",
    [f"Bearer {TOKEN}", f"bearer {TOKEN}", f"BEARER {TOKEN}", f"Bearer   {TOKEN}  ", f"Bearer\t{TOKEN}"],
    ids=["usual", "small", "capital", "spaces", "tab"],
)
@pytest.mark.parametrize("mode", ["required", "optional"])
def test_good(authorization, mode):
    verdict = ask(request(authorization), mode=mode, claims={"tier": "tier"})
    assert not verdict.is_exit
    ((name, passport),) = verdict.service_headers
    assert name == "X-Passport"
    claims = read(passport)
    assert (claims["sub"], claims["sub_iss"], claims["txn"], claims["tier"]) == (
        "user-1",
        "https://a",
        "req-1",
        "gold",
    )
    assert verdict.identity.key == "https://a|user-1"
    assert verdict.memo == ""


NO_TOKEN = [None, "", "Basic dTpw", TOKEN, f"Bearer{TOKEN}", f"BearerX {TOKEN}", "Digest x"]


@pytest.mark.parametrize("authorization", NO_TOKEN)
def test_no_token(authorization):
    verdict = ask(request(authorization))
    assert (verdict.status, verdict.reason) == (401, "token_missing")
    # RFC 6750, section 3: no error code where no authentication was tried
    assert dict(verdict.headers)["WWW-Authenticate"] == 'Bearer realm="kgate"'
    assert ask(request(authorization), mode="optional") is None
    assert ask(request(authorization), mode="forbidden") is None


BAD = [
    ("Bearer", "token_missing"),
    ("Bearer ", "token_missing"),
    ("Bearer a.b", "token_malformed"),
    (f"Bearer {TOKEN}, Bearer {TOKEN}", "token_malformed"),
    (f"Bearer {TOKEN} x", "token_malformed"),
    (f"Bearer {TOKEN}\udcff", "token_malformed"),
    ("Bearer \udcff", "token_malformed"),
    ("Bearer " + "a" * 8193, "token_too_large"),
    (f"Bearer {TOKEN[:-4]}AAAA", "bad_signature"),
    (f"Bearer {make_token(exp=NOW - 31)}", "token_expired"),
    (f"Bearer {make_token(aud='bank')}", "wrong_audience"),
    (f"Bearer {make_token(iss='https://b')}", "unknown_issuer"),
]


@pytest.mark.parametrize(("authorization", "reason"), BAD)
@pytest.mark.parametrize("mode", ["required", "optional"])
def test_bad_token(authorization, reason, mode):
    """A bad token is refused where a token is optional, too: nobody is silently made a stranger."""
    verdict = ask(request(authorization), mode=mode)
    assert (verdict.status, verdict.reason) == (401, reason)
    headers = dict(verdict.headers)
    assert CHALLENGE.fullmatch(headers["WWW-Authenticate"])
    assert headers["Content-Type"] == "application/problem+json"
    body = json.loads(verdict.body)
    assert (body["status"], body["reason"], body["request_id"]) == (401, reason, "req-1")
    assert verdict.service_headers == ()
    assert verdict.identity is None


def test_forbidden():
    verdict = ask(request(f"Bearer {TOKEN}"), mode="forbidden")
    assert (verdict.status, verdict.reason) == (403, "token_forbidden")


@pytest.mark.parametrize("mode", ["required", "optional", "forbidden"])
def test_a_cut_header_is_refused(mode):
    """What was cut off is not known, so it cannot count as "no token" either."""
    for value in (f"Bearer {TOKEN}", "Basic x", None):
        verdict = ask(request(value, truncated=("authorization",)), mode=mode)
        assert (verdict.status, verdict.reason) == (401, "token_too_large")
    assert not ask(request(f"Bearer {TOKEN}", truncated=("cookie",))).is_exit


PREFLIGHT = {"method": "OPTIONS", "origin": "https://x", "access-control-request-method": "PUT"}


def test_preflight_passes_without_token_and_passport():
    assert ask(request(**PREFLIGHT)) is None
    assert ask(request(f"Bearer {TOKEN}", **PREFLIGHT)) is None
    assert ask(request(**{**PREFLIGHT, "method": "GET"})).status == 401
    assert ask(request(method="OPTIONS")).status == 401
    assert ask(request(method="OPTIONS", origin="https://x")).status == 401


def test_issuer_that_the_server_does_not_know():
    verdict = ask(request(f"Bearer {TOKEN}"), issuers=["main", "other"])
    assert (verdict.status, verdict.reason) == (503, "unknown_issuer_config")


def test_keys_not_there_yet():
    """Not the client's fault: an app that sees 401 throws a good token away."""
    verdict = ask(request(f"Bearer {TOKEN}"), make_state(with_keys=False))
    assert (verdict.status, verdict.reason) == (503, "keys_unavailable")
    assert dict(verdict.headers)["Retry-After"] == "5"


def test_passport_too_large():
    token = make_token(roles=["x" * 40] * 60)
    verdict = ask(request(f"Bearer {token}"), claims={"roles": "roles"})
    assert (verdict.status, verdict.reason) == (503, "passport_too_large")
    assert not ask(request(f"Bearer {token}")).is_exit


def test_forward_token():
    kept = ask(request(f"Bearer {TOKEN}"))
    assert [name for name, _ in kept.service_headers] == ["X-Passport"]
    dropped = ask(request(f"Bearer {TOKEN}"), forward_token=False)
    assert dropped.service_headers[1] == ("Authorization", "")


@settings(max_examples=80, deadline=None)
@given(
    st.text()
    | st.builds("Bearer {}".format, st.text())
    | st.builds("bearer {}.{}.{}".format, *[st.text()] * 3),
    st.sampled_from(["required", "optional", "forbidden"]),
)
def test_no_header_passes_for_a_user(authorization, mode):
    verdict = ask(request(authorization), mode=mode)
    if mode == "required":
        assert verdict.is_exit
    if verdict is not None:
        assert verdict.status in (401, 403)
        for name, value in verdict.headers:
            assert (name + value).isascii()
            assert (name + value).isprintable()


@pytest.mark.parametrize(
    ("key", "data", "reason"),
    [
        ("token https://a|t-1", {}, "token_revoked"),
        ("token https://b|t-1", {}, ""),
        ("token https://a|t-2", {}, ""),
        ("subject https://a|user-1", {}, "subject_revoked"),
        ("subject https://a|user-2", {}, ""),
        ("before https://a", {"issued_before": NOW - 9}, "issued_before"),
        ("before https://a", {"issued_before": NOW - 10}, ""),
    ],
)
def test_revocations_count_for_tokens_that_were_verified_before(key, data, reason):
    token = request(f"Bearer {make_token(jti='t-1', iat=NOW - 10)}")
    assert not ask(token).is_exit
    snapshot = snapshot_of_dump(StateDump(1, {"revocations": [Record("revocations", key, data)]}, {}))
    found = ask(token, State(snapshot, STATE.trust), mode="optional")
    assert (found.status, found.reason) == ((401, reason) if reason else (None, ""))
    if reason:
        (challenge,) = [value for name, value in found.headers if name == "WWW-Authenticate"]
        assert CHALLENGE.fullmatch(challenge)


def test_a_token_that_stood_is_looked_up_again_in_a_new_state():
    """Both ways: a revocation comes, and goes."""
    facts = request(f"Bearer {make_token(jti='t-9')}")
    clear = make_state()
    revoked = Record("revocations", "token https://a|t-9", {})
    refusing = clear._replace(snapshot=snapshot_of_dump(StateDump(2, {"revocations": [revoked]}, {})))
    for _ in range(2):
        assert not ask(facts, clear).is_exit
        assert ask(facts, refusing).reason == "token_revoked"


def test_what_is_known_to_stand_is_bounded():
    issuers = STATE.trust._issuers
    keys = StaticKeys({name: each.keys for name, each in issuers.items()})
    state = STATE._replace(trust=Trust(issuers, keys, Keyring(b"s" * 32), cached=3))
    for number in range(10):
        assert not ask(request(f"Bearer {make_token(jti=str(number))}"), state).is_exit
        assert len(state.trust.standing(state.snapshot.revocations)) <= 3


def test_a_token_without_a_date_is_refused_while_its_issuer_has_a_before():
    before = Record("revocations", "before https://a", {"issued_before": 1.0})
    snapshot = snapshot_of_dump(StateDump(1, {"revocations": [before]}, {}))
    assert ask(request(f"Bearer {TOKEN}"), State(snapshot, STATE.trust)).reason == "issued_before"


# the public keys


def bare(method="GET"):
    return Facts("req-1", "192.0.2.1", "https", method, "h", "/", "/", "r", "", "", "", frozenset(), {})


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_the_public_keys_need_no_token(method):
    ring = Keyring(Ed25519PrivateKey.generate())
    state = State(empty_snapshot(), Trust({}, StaticKeys({}), ring))
    found = decide(bare(method), parse({"mode": "jwks"}), state, NOW)
    assert (found.status, json.loads(found.body)) == (200, ring.public_jwks())
    headers = dict(found.headers)
    assert headers["Content-Type"] == "application/jwk-set+json"
    assert headers["Cache-Control"] == "public, max-age=300"
    assert '"d"' not in found.body


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_the_public_keys_are_read_only(method):
    found = decide(bare(method), parse({"mode": "jwks"}), STATE, NOW)
    assert (found.status, dict(found.headers)["Allow"]) == (405, "GET, HEAD")


def test_a_shared_secret_is_not_published():
    assert json.loads(decide(bare(), parse({"mode": "jwks"}), STATE, NOW).body) == {"keys": []}


def test_no_key_to_sign_with():
    state = State(
        empty_snapshot(), Trust(parse_main(), StaticKeys({"main": parse_main()["main"].keys}), Ring())
    )
    found = ask(request(f"Bearer {TOKEN}"), state)
    assert (found.status, found.reason) == (503, "no_signing_key")


def parse_main():
    jwk = {"kty": "OKP", "crv": "Ed25519", "x": b64(KEY.public_key().public_bytes_raw())}
    return parse_issuers(
        [{"name": "main", "iss": "https://a", "audiences": [], "jwks": {"keys": [jwk]}}], Path()
    )


# what is in the passport


def test_nobodys_passport():
    verdict = ask(request(), mode="optional", anonymous="passport")
    claims = read(verdict.service_headers[0][1])
    assert (claims["sub"], claims["authn_level"], verdict.identity) == ("anonymous", "anonymous", None)
    assert ask(request("Bearer x.y.z"), mode="optional", anonymous="passport").status == 401
    assert ask(request(**PREFLIGHT), mode="optional", anonymous="passport") is None


@pytest.mark.parametrize(
    ("device", "headers", "expected"),
    [
        ("header:X-Device-Id", {"x-device-id": "phone-1"}, "phone-1"),
        ("header:X-Device-Id", {}, None),
        ("header:X-Device-Id", {"x-device-id": "a" * 129}, None),
        ("header:X-Device-Id", {"x-device-id": "a\udcff"}, None),
        ("header:X-Device-Id", {"x-device-id": "전화"}, None),
        ("cookie:did", {"cookie": "a=b; did=phone-2"}, "phone-2"),
        ("cookie:did", {"cookie": "did=1; did=2"}, None),
        ("claim:tier", {}, "gold"),
        ("claim:absent", {}, None),
    ],
)
def test_device(device, headers, expected):
    verdict = ask(request(f"Bearer {TOKEN}", **headers), device=device)
    assert read(verdict.service_headers[0][1]).get("device") == expected


def test_another_header():
    assert ask(request(f"Bearer {TOKEN}"), header="X-Who").service_headers[0][0] == "X-Who"
    assert ask(request(f"Bearer {TOKEN}"), profile="txn-token").service_headers[0][0] == "Txn-Token"


@pytest.mark.parametrize(
    ("places", "headers", "dropped"),
    [
        (["authorization"], {"authorization": f"Bearer {TOKEN}"}, {"Authorization": ""}),
        (["cookie:sid"], {"cookie": f"a=1; sid={TOKEN}; b=2"}, {"Cookie": "a=1; b=2"}),
        (["cookie:sid"], {"cookie": f"sid={TOKEN}"}, {"Cookie": ""}),
        (["header:X-Token"], {"x-token": TOKEN}, {"x-token": ""}),
        (
            ["cookie:sid", "cookie:old", "authorization"],
            {"cookie": f"sid={TOKEN}; c=3"},
            {"Cookie": "c=3", "Authorization": ""},
        ),
    ],
)
def test_the_service_does_not_get_the_token(places, headers, dropped):
    found = ask(request(**headers), token_from=places, forward_token=False)
    assert dict(found.service_headers[1:]) == dropped
    assert len(ask(request(**headers), token_from=places).service_headers) == 1


def test_with_a_canary_the_passport_says_the_arm_and_comes_after_the_blocks():
    """The whole chain: the same token on another arm gets another passport."""
    configs = {
        name: parse_config(name, raw)
        for name, raw in {
            "abuse-guard": {},
            "passport": {"issuers": ["main"]},
            "canary-router": {"name": "v2", "upstream": "v2", "users": ["user-1"]},
        }.items()
    }
    steps = chain.build(configs)
    facts = request(f"Bearer {TOKEN}")
    found = dict(chain.run(facts, steps, STATE, NOW).service_headers)
    assert read(found["X-Passport"])["canary"] == "v2=canary"
    paused = build(1, (), [CanaryOverride("v2", paused=True)])
    other = dict(chain.run(facts, steps, State(paused, STATE.trust), NOW).service_headers)
    assert read(other["X-Passport"])["canary"] == "v2=control"
    assert chain.run(request("Bearer a.b.c"), steps, STATE, NOW).reason == "token_malformed"


# nothing that a client sends makes it raise

HEADERS = st.dictionaries(
    st.sampled_from(["authorization", "cookie", "x-token", "x-device-id", "origin"]),
    st.one_of(
        st.text(max_size=40),
        st.builds("Bearer {}.{}.{}".format, *[st.text("aAeyJ0_-=", max_size=30)] * 3),
        st.builds("sid={}; sid={}".format, st.text(max_size=10), st.text(max_size=10)),
        st.binary(max_size=30).map(lambda raw: "Bearer " + b64(raw) + "." + b64(b'{"alg":"EdDSA"}') + ".AA"),
        st.dictionaries(
            st.sampled_from(["alg", "kid", "typ", "iss", "exp", "sub"]), st.integers() | st.text()
        ).map(lambda some: f"Bearer {b64(json.dumps(some).encode())}.{b64(json.dumps(some).encode())}.AA"),
        st.just(f"Bearer {TOKEN}"),
    ),
)


@settings(max_examples=120, deadline=None)
@given(
    HEADERS,
    st.sampled_from(["GET", "OPTIONS", "HEAD"]),
    st.sampled_from(["required", "optional", "forbidden", "jwks"]),
    st.lists(st.sampled_from(["authorization", "cookie:sid", "header:X-Token"]), min_size=1, unique=True),
    st.sets(st.sampled_from(["authorization", "cookie"])),
)
def test_whatever_comes_there_is_a_verdict(headers, method, mode, places, truncated):
    found = ask(
        request(method=method, truncated=truncated, **headers),
        mode=mode,
        token_from=places,
        device="header:X-Device-Id",
    )
    if found is None:
        assert mode != "required" or method == "OPTIONS"
        return
    passports = [value for name, value in found.service_headers if name == "X-Passport"]
    if passports:
        # a passport comes of the one good token alone
        assert read(passports[0])["sub"] == "user-1"
        assert any(TOKEN in value for value in headers.values())
    else:
        assert found.is_exit


class Patient(Trust):
    """As one whose issuer is being asked about the user."""

    left = 0.05

    def verify(self, token, issuer_names, now):
        return super().verify(token, issuer_names, now)._replace(level="token_only")

    def wait_for(self, identity, now):
        return self.left


@pytest.mark.parametrize("filter_", [decide, identify])
def test_a_request_waits_once_for_what_is_asked_of_its_user(filter_):
    state = make_state()
    issuers = state.trust._issuers
    trust = Patient(
        issuers, StaticKeys({name: each.keys for name, each in issuers.items()}), Keyring(b"s" * 32)
    )
    state, config, facts = (
        state._replace(trust=trust),
        parse({"issuers": ["main"]}),
        request(f"Bearer {TOKEN}"),
    )
    found = filter_(facts, config, state, NOW)
    assert isinstance(found, Ask)
    assert (found.kind, found.args[1], found.identity.subject) == (ASK_KIND, 0.05, "user-1")
    found = filter_(facts, config, state._replace(answers={ASK_KIND: None}), NOW)
    assert isinstance(found, Verdict)
    assert found.identity.subject == "user-1"
    trust.left = -0.1
    assert isinstance(filter_(facts, config, state, NOW), Verdict), "the time is over"
    assert filter_(request("Bearer a.b.c"), config, state, NOW).status == 401


@pytest.mark.parametrize("space", ["\u00a0", "\u3000", "\u2028", "\x0b", "\x85", "\udca0"])
def test_only_space_and_tab_part_the_scheme_from_the_token(space):
    assert ask(request(f"Bearer{space}{TOKEN}")).reason == "token_missing"
    assert ask(request(f"{space}Bearer {TOKEN}")).reason == "token_missing"
    assert ask(request(f"Bearer {TOKEN}{space}")).reason == "token_malformed"
