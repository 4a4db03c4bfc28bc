"""Trust: caching of verified and refused tokens, rotation, and building it from the server's config."""

from __future__ import annotations

import json
import stat

import jwt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kong_plugins.identity import key_operations, ring_watch
from kong_plugins.identity import trust as trust_module
from kong_plugins.identity.jwks import parse_jwks
from kong_plugins.identity.key_files import KeyFiles
from kong_plugins.identity.key_records import record_data
from kong_plugins.identity.keyring import Keyring
from kong_plugins.identity.keys import KeySnapshot, LiveKeys
from kong_plugins.identity.ring import NoSigningKey
from kong_plugins.identity.sealing import Sealer
from kong_plugins.identity.tokens import TokenError
from kong_plugins.identity.trust import Trust
from kong_plugins.identity.trust_config import PUBLIC_KEYS, build_trust
from kong_plugins.state.records import Record, StateDump
from kong_plugins.state.snapshot import snapshot_of_dump

NOW = 1_800_000_000.0
MAIN = ("main",)


class Keys:
    """A key source that a test changes at will."""

    def __init__(self, sets):
        self.now = KeySnapshot(1, sets)
        self.wanted = []

    def change(self, sets):
        self.now = KeySnapshot(self.now.generation + 1, sets)

    def snapshot(self):
        return self.now

    def want(self, issuer, kid):
        self.wanted.append((issuer, kid))

    def is_stale(self, issuer):
        return False

    def start(self):
        pass

    def stop(self):
        pass


@pytest.fixture
def checks(monkeypatch):
    """Counts the full checks."""
    seen = []
    real = trust_module.check_token

    def counted(token, *rest):
        seen.append(token)
        return real(token, *rest)

    monkeypatch.setattr(trust_module, "check_token", counted)
    return seen


@pytest.fixture
def keys(mint):
    return Keys({"main": mint.issuers()["main"].keys})


@pytest.fixture
def trust(mint, keys):
    return Trust(mint.issuers(), keys, Keyring(b"s" * 32), cached=50)


def reason(trust, token, names=MAIN, now=NOW):
    with pytest.raises(TokenError) as caught:
        trust.verify(token, names, now)
    return caught.value.reason


def test_verified_once(mint, trust, checks):
    token = mint.token()
    assert trust.verify(token, MAIN, NOW) is trust.verify(token, MAIN, NOW + 59)
    assert len(checks) == 1
    trust.verify(token, MAIN, NOW + 60)
    assert len(checks) == 2


@pytest.mark.parametrize(
    ("changes", "later", "expected"),
    [
        ({"exp": NOW + 10}, 39.9, None),
        ({"exp": NOW + 10}, 40, "token_expired"),
        ({"nbf": NOW}, -31, "token_not_yet_valid"),
    ],
)
def test_a_kept_answer_is_no_longer_true(mint, trust, changes, later, expected):
    token = mint.token(**changes)
    trust.verify(token, MAIN, NOW)
    if expected is None:
        assert trust.verify(token, MAIN, NOW + later).subject == "user-1"
    else:
        assert reason(trust, token, now=NOW + later) == expected


def test_one_route_does_not_open_another(mint, trust):
    """An answer is kept with the issuers that were allowed."""
    token = mint.token()
    trust.verify(token, MAIN, NOW)
    assert reason(trust, token, ("other",)) == "unknown_issuer"
    assert reason(trust, token, ()) == "unknown_issuer"


def test_a_key_that_is_taken_away_ends_kept_answers(mint, trust, keys):
    token = mint.token("EdDSA")
    trust.verify(token, MAIN, NOW)
    keys.change({"main": parse_jwks(mint.jwks("RS256"), ("RS256",))})
    assert reason(trust, token) == "unknown_key"
    assert keys.wanted == [("main", "EdDSA")]


def test_bad_signature_is_kept_shortly(mint, trust, keys, checks):
    forged = mint.token()[:-4] + "AAAA"
    for later in (0, 1, 4.9):
        assert reason(trust, forged, now=NOW + later) == "bad_signature"
    assert len(checks) == 1
    assert reason(trust, forged, now=NOW + 5) == "bad_signature"
    assert len(checks) == 2
    keys.change(keys.now.sets)
    reason(trust, forged, now=NOW + 5)
    assert len(checks) == 3


def test_a_flood_of_forgeries_is_bounded_and_pushes_nobody_out(mint, trust, checks):
    token = mint.token()
    trust.verify(token, MAIN, NOW)
    head, payload, _ = token.split(".")
    for number in range(300):
        reason(trust, f"{head}.{payload}.{number:086d}"[:-1] + "A")
    assert len(trust._refused) <= 100
    before = len(checks)
    trust.verify(token, MAIN, NOW)
    assert len(checks) == before


@settings(max_examples=60, deadline=None)
@given(st.one_of(st.text(), st.text("aA0-_.\udcff\0", max_size=9000)))
def test_garbage(mint, token):
    trust = Trust(mint.issuers(), Keys({}), Keyring(b"s" * 32), cached=5)
    with pytest.raises(TokenError):
        trust.verify(token, MAIN, NOW)


def test_empty(mint):
    trust = Trust.empty()
    assert not trust.has("main")
    assert reason(trust, mint.token()) == "unknown_issuer"
    trust.start()
    trust.stop()


def test_build(mint, tmp_path):
    state = tmp_path / "run"
    trust = build_trust({"issuers": [mint.issuer()], "redis": {"url": "x"}}, tmp_path, state)
    assert trust.has("main")
    assert not trust.has("other")
    assert trust.verify(mint.token(), MAIN, NOW).subject == "user-1"
    assert stat.S_IMODE((state / "passport-key.pem").stat().st_mode) == 0o600
    assert json.loads((state / PUBLIC_KEYS).read_text()) == trust.public_jwks()
    # a second process of the same state signs with the same key
    assert build_trust({}, tmp_path, state).public_jwks() == trust.public_jwks()


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"issuers": [{"name": "a"}]}, "issuer a: iss"),
        ({"passport": ["key"]}, "passport: "),
        ({"passport": {"surprise": 1}}, "passport: surprise"),
        ({"passport": {"issuer": ""}}, "passport.issuer"),
        ({"passport": {"issuer": 1}}, "passport.issuer"),
        ({"passport": {"issuer": "https://auth.example.com"}}, "issuer main: iss: .*passport.issuer"),
        ({"passport": {"key": {"alg": "RS384"}}}, "passport.key: alg"),
        ({"passport": {"key": {}, "keyring": {}}}, "passport.key: give it or keyring"),
        ({"passport": {"keyring": []}}, "passport.keyring: expected a map"),
        ({"passport": {"keyring": {}}}, "passport.keyring: store: "),
        ({"passport": {"keyring": {"store": "redis", "dir": "x"}}}, "passport.keyring: store: "),
        ({"passport": {"keyring": {"store": "etcd"}}}, "passport.keyring: store: "),
        ({"passport": {"keyring": {"store": "redis"}}}, "passport.keyring: secret_file: is needed"),
        ({"passport": {"keyring": {"dir": 1}}}, "passport.keyring: dir: "),
        ({"passport": {"keyring": {"dir": "x", "key": "y"}}}, "passport.keyring: key: unknown"),
        ({"passport": {"keyring": {"dir": "x", "secret_file": "gone"}}}, "passport.keyring: secret_file: "),
        ({"passport": {"keyring": {"dir": "x", "secret_env": "NOT_SET"}}}, "passport.keyring: secret_env: "),
    ],
)
def test_build_refused(mint, tmp_path, config, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        build_trust({"issuers": [mint.issuer()]} | config, tmp_path, tmp_path / "run")


def test_build_where_nothing_can_be_written(mint, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="cannot write"):
        build_trust({}, tmp_path, tmp_path / "file")


def test_live_keys_over_http(mint, key_server, tmp_path):
    """A fetched set appears, a rotation is seen by the unknown kid, and a restart in an outage works."""
    item = mint.issuer(jwks_url=key_server.url)
    del item["jwks"]
    config = {"issuers": [item]}
    key_server.serve(mint.jwks("EdDSA"))
    trust = build_trust(config, tmp_path, tmp_path)
    assert reason(trust, mint.token()) == "keys_unavailable"
    fetcher = trust._keys.fetchers["main"]
    fetcher.poll(0)
    assert trust.verify(mint.token(), MAIN, NOW).subject == "user-1"
    key_server.serve(mint.jwks("EdDSA", "RS256"))
    assert reason(trust, mint.token("RS256")) == "unknown_key"
    fetcher.poll(1)
    assert trust.verify(mint.token("RS256"), MAIN, NOW).subject == "user-1"
    key_server.stop()
    again = build_trust(config, tmp_path, tmp_path)
    assert again.verify(mint.token("RS256"), MAIN, NOW).subject == "user-1"


def test_live_keys_start_and_stop(mint, key_server, tmp_path):
    item = mint.issuer(jwks_url=key_server.url)
    del item["jwks"]
    key_server.serve(mint.jwks("EdDSA"))
    trust = build_trust({"issuers": [item]}, tmp_path, tmp_path)
    trust.start()
    trust.stop()
    assert not trust._keys.fetchers["main"]._thread.is_alive()


def test_want_of_an_issuer_without_url(mint):
    LiveKeys(mint.issuers()).want("main", "kid")


INLINE = {
    "name": "dev",
    "iss": "https://dev.example",
    "audiences": [],
    "algorithms": ["HS256"],
    "jwks": {"keys": [{"kty": "oct", "kid": "d", "alg": "HS256", "k": "QUFB" * 11}]},
}


def inline_trust(tmp_path, allowed=True):
    own = {**INLINE, "name": "main", "iss": "https://main.example"}
    return build_trust({"issuers": [own]}, tmp_path, tmp_path, inline_issuers=allowed)


def inline_token(iss="https://dev.example"):
    claims = {"iss": iss, "sub": "alice", "exp": NOW + 60}
    return jwt.encode(claims, b"AAA" * 11, algorithm="HS256", headers={"kid": "d"})


def test_inline_issuers_are_refused_with_the_option_that_would_take_them(tmp_path, caplog):
    trust = inline_trust(tmp_path, allowed=False)
    assert trust.with_inline(json.dumps([INLINE])) is None
    assert trust.with_inline(json.dumps([INLINE])) is None
    assert caplog.text.count("--allow-inline-issuers") == 1, "said once"


def test_inline_issuers_add_to_those_of_the_server_where_they_are_allowed(tmp_path):
    trust = inline_trust(tmp_path)
    both = trust.with_inline(json.dumps([INLINE]))
    assert both is trust.with_inline(json.dumps([INLINE])), "its caches stay warm"
    assert both.verify(inline_token(), ("dev",), NOW).subject == "alice"
    assert both.verify(inline_token("https://main.example"), ("main",), NOW)
    assert not trust.has("dev"), "on that route only"


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"name": "main"}, "the server has its own"),
        ({"iss": "https://main.example"}, "the server has its own"),
        ({"iss": "kgate"}, "the server has its own"),
        ({"jwks": None, "jwks_url": "http://169.254.169.254/"}, "jwks: is missing"),
        ({"jwks": None, "key_file": "/etc/shadow"}, "jwks: is missing"),
        ({"unknown": 1}, "unknown: unknown field"),
    ],
)
def test_an_inline_issuer_that_cannot_be_used_is_refused_by_name(tmp_path, caplog, change, complaint):
    item = {key: value for key, value in {**INLINE, **change}.items() if value is not None}
    assert inline_trust(tmp_path).with_inline(json.dumps([item])) is None
    assert complaint in caplog.text


@pytest.mark.parametrize("text", ["", "{", "{}", "[]", "[1]", "null", "[[]]"])
def test_inline_issuers_of_another_form_are_refused(tmp_path, text):
    assert inline_trust(tmp_path).with_inline(text) is None


def test_the_public_keys_that_are_there_need_no_disk(tmp_path, monkeypatch):
    """A worker that comes back on a full disk must come back."""
    first = build_trust({}, tmp_path, tmp_path).public_jwks()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(ring_watch, "write_private", full)
    assert build_trust({}, tmp_path, tmp_path).public_jwks() == first
    (tmp_path / PUBLIC_KEYS).unlink()
    with pytest.raises(ValueError, match="No space left"):
        build_trust({}, tmp_path, tmp_path)


def test_two_tokens_that_say_the_same_are_two(mint, trust):
    """Passports are kept by token: a logout of one session must not meet the passport of the other."""
    one, other = (trust.verify(mint.token(alg), MAIN, NOW) for alg in ("EdDSA", "RS256"))
    assert one.claims == other.claims
    assert one.token
    assert one.token != other.token


def test_a_keyring_in_a_folder(mint, tmp_path):
    files = KeyFiles(tmp_path / "keys")
    first = key_operations.init([], "ES256", None, NOW)
    with files.locked():
        files.save(first)
    trust = build_trust({"passport": {"keyring": {"dir": "keys"}}}, tmp_path, tmp_path)
    (jwk,) = trust.public_jwks(NOW)["keys"]
    assert (jwk["kid"], jwk["alg"]) == (first.kid, "ES256")
    trust.start()
    trust.stop()
    assert not trust._watch._thread.is_alive()


def test_a_keyring_in_the_control_state_is_there_with_the_snapshot(tmp_path, monkeypatch):
    monkeypatch.setenv("RING_SECRET", "s" * 32)
    config = {"passport": {"keyring": {"store": "redis", "secret_env": "RING_SECRET"}}}
    trust = build_trust(config, tmp_path, tmp_path)
    with pytest.raises(NoSigningKey):
        trust._keyring.current(NOW)
    made = key_operations.init([], "EdDSA", Sealer(b"s" * 32), NOW)
    record = Record("keys", made.kid, record_data(made))
    trust.follow(snapshot_of_dump(StateDump(1, {"keys": [record]}, {})))
    assert trust._keyring.current(NOW).kid == made.kid
