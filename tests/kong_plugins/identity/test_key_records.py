"""The keyring: states by time, operations, sealing, and the ring in use."""

from __future__ import annotations

import json
import pickle
from types import SimpleNamespace

import pytest
from cryptography.hazmat.primitives import serialization
from hypothesis import given
from hypothesis import strategies as st

from kong_plugins.identity import key_operations as ops
from kong_plugins.identity.key_files import KeyFiles
from kong_plugins.identity.key_operations import KEEP_SECONDS, PUBLISH_SECONDS, KeysRefused
from kong_plugins.identity.key_records import KeyRecord, record_data, record_of, states
from kong_plugins.identity.ring import NoSigningKey, Ring
from kong_plugins.identity.ring_watch import RingWatch
from kong_plugins.identity.sealing import Sealer, SealError, read_secret
from kong_plugins.identity.signing import Keyring, load_key, make_key

NOW = 1_800_000_000.0
SEALER = Sealer(b"a secret that seals the keys of these tests")


def key(kid, sign_from=0.0, revoked=None):
    return KeyRecord(kid, "EdDSA", NOW - 9e6, NOW + sign_from, revoked)


STATES = [
    ([], []),
    ([key("a")], ["a current"]),
    ([key("a", 60)], ["a next"]),
    ([key("a"), key("b", 60)], ["b next", "a current"]),
    ([key("a", -60), key("b")], ["b current", "a previous"]),
    ([key("a", -9), key("b", -5), key("c", 5)], ["c next", "b current", "a previous"]),
    ([key("a", -9), key("b", -KEEP_SECONDS)], ["a current", "b previous"]),
    ([key("a", -KEEP_SECONDS), key("b", -KEEP_SECONDS - 1)], ["a current", "b previous unpublished"]),
    ([key("a", -9, NOW), key("b")], ["b current", "a revoked unpublished"]),
    ([key("a", -9), key("b", -5, NOW)], ["a current", "b revoked unpublished"]),
]


@pytest.mark.parametrize(("records", "expected"), STATES)
def test_states(records, expected):
    found = states(records, NOW)
    assert [f"{s.record.kid} {s.state}{'' if s.published else ' unpublished'}" for s in found] == expected
    assert states(reversed(records), NOW) == found


@given(
    st.lists(st.tuples(st.integers(-9999, 9999), st.booleans()), max_size=8, unique_by=lambda each: each[0]),
    st.integers(0, 20_000),
)
def test_there_is_one_key_that_signs_and_it_was_published_before(items, later):
    """For any keyring at any time: at most one signs; who verifies with what was published then knows it."""
    records = [key(f"k{n}", at, NOW if gone else None) for n, (at, gone) in enumerate(items)]
    before = {s.record.kid for s in states(records, NOW) if s.published}
    found = states(records, NOW + later)
    assert sorted(s.record.kid for s in found) == sorted(r.kid for r in records)
    current = [s.record.kid for s in found if s.state == "current"]
    assert len(current) <= 1
    assert set(current) <= before
    assert all(s.state == "revoked" for s in found) or current or found[0].state == "next"


def test_a_life():
    first = ops.init([], "EdDSA", SEALER, NOW)
    with pytest.raises(KeysRefused, match="rotate"):
        ops.init([first], "EdDSA", SEALER, NOW)
    ring = Ring(SEALER)
    ring.use([first])
    assert ring.current(NOW).kid == first.kid
    second = ops.rotate([first], "ES256", SEALER, NOW + 100)
    assert second.sign_from == NOW + 100 + PUBLISH_SECONDS
    with pytest.raises(KeysRefused, match="is next already and signs in 599 s"):
        ops.rotate([first, second], None, SEALER, NOW + 101)
    ring.use([first, second])
    takes_over = second.sign_from
    kids = [jwk["kid"] for jwk in ring.public_jwks(NOW + 101)["keys"]]
    assert kids == [second.kid, first.kid]
    assert ring.current(takes_over - 1).kid == first.kid
    assert (ring.current(takes_over).kid, ring.current(takes_over).alg) == (second.kid, "ES256")
    assert len(ring.public_jwks(takes_over + KEEP_SECONDS - 1)["keys"]) == 2
    assert len(ring.public_jwks(takes_over + KEEP_SECONDS)["keys"]) == 1
    with pytest.raises(KeysRefused, match="signs now"):
        ops.retire([first, second], second.kid, takes_over)
    gone = ops.retire([first, second], second.kid, takes_over, force=True)
    assert (gone.sealed, gone.plain, gone.revoked) == ("", "", takes_over)
    version = ring.version
    ring.use([first, gone])
    assert ring.version > version, "what it signed is not handed out any more"
    assert ring.current(takes_over).kid == first.kid
    ring.use([])
    with pytest.raises(NoSigningKey):
        ring.current(takes_over)


@pytest.mark.parametrize(
    ("do", "says"),
    [
        (lambda r: ops.rotate([], None, SEALER, NOW), "keys init"),
        (lambda r: ops.retire([r], "other", NOW), "no key 'other'"),
        (lambda r: ops.retire([r._replace(revoked=NOW)], r.kid, NOW), "revoked already"),
        (lambda r: ops.adopt([r], make_key("EdDSA"), r.kid, SEALER, NOW), "another --kid"),
        (
            lambda r: ops.rotate([r] + [key(f"k{n}", -n) for n in range(19)], None, SEALER, NOW),
            "20 are allowed",
        ),
    ],
)
def test_refused(do, says):
    with pytest.raises(KeysRefused, match=says):
        do(ops.init([], "EdDSA", SEALER, NOW))


def test_a_key_from_elsewhere():
    made = make_key("RS256")
    first = ops.adopt([], made, "2025-b", SEALER, NOW)
    assert (first.kid, first.alg, first.sign_from) == ("2025-b", "RS256", NOW)
    assert ops.adopt([first], make_key("HS256"), "", SEALER, NOW).sign_from == NOW + PUBLISH_SECONDS
    with pytest.raises(ValueError, match="kid: "):
        ops.adopt([], made, "a b", SEALER, NOW)


def test_old_ones_are_forgotten():
    old = [key("a", -3e6), key("b", -2e6), key("c", -1e6, NOW - 86_401), key("d", -9), key("e", -5, NOW - 5)]
    assert [record.kid for record in ops.over(old, NOW)] == ["a", "c"]


# at rest


@pytest.mark.parametrize("alg", ["EdDSA", "ES256", "HS256"])
def test_sealed_in_what_is_stored(alg):
    record = ops.init([], alg, SEALER, NOW)
    text = json.dumps(record_data(record))
    private = SEALER.open(record.sealed, record.bound)
    load_key(private, alg)
    assert "PRIVATE" not in text
    assert private.decode() not in text
    assert record_of(record.kid, json.loads(text)) == record
    for shown in (repr(record), repr(SEALER), repr(Ring(SEALER))):
        assert private.decode() not in shown
        assert "secret that seals" not in shown
    for thing in (SEALER, Ring(SEALER)):
        with pytest.raises(TypeError):
            pickle.dumps(thing)


@pytest.mark.parametrize(
    "change",
    [
        {"kid": "other"},
        {"alg": "ES256"},
        {"sign_from": NOW + 1},
        {"created": NOW - 1},
        {"sealed": "v1.AAAA"},
        {"sealed": "v2.AAAA"},
        {"sealed": "v1.!"},
        {"sealed": "", "plain": Keyring(make_key("EdDSA")).private_bytes().decode()},
        {"sealed": ""},
    ],
    ids=lambda change: " ".join(change),
)
def test_who_may_write_to_the_store_can_bring_no_key_and_change_none(change, caplog):
    record = ops.init([], "EdDSA", SEALER, NOW)
    ring = Ring(SEALER)
    ring.use([record._replace(**change)])
    with pytest.raises(NoSigningKey):
        ring.current(NOW + 10)
    assert ring.public_jwks(NOW + 10) == {"keys": []}
    assert "is left out" in caplog.text


def test_another_secret_opens_nothing():
    record = ops.init([], "EdDSA", SEALER, NOW)
    with pytest.raises(SealError):
        Sealer(b"x" * 32).open(record.sealed, record.bound)
    with pytest.raises(ValueError, match="31 bytes, 32 are needed"):
        Sealer(b"x" * 31 + b"\n")


def test_secrets(tmp_path):
    path = tmp_path / "s"
    path.write_bytes(b"x" * 40)
    path.chmod(0o644)
    with pytest.raises(ValueError, match=r"secret_file: .*chmod 600"):
        read_secret("s", None, tmp_path, {})
    path.chmod(0o600)
    assert read_secret("s", None, tmp_path, {}) == b"x" * 40
    assert read_secret(None, "S", tmp_path, {"S": "y"}) == b"y"
    assert read_secret(None, None, tmp_path, {}) is None
    for wrong in (("s", "S"), (None, "NOT_SET"), ("gone", None)):
        with pytest.raises(ValueError, match=r"^secret_"):
            read_secret(*wrong, tmp_path, {})


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"alg": "none", "created": 1, "sign_from": 1},
        {"alg": "EdDSA", "created": "1", "sign_from": 1},
        {"alg": "EdDSA", "created": 1, "sign_from": True},
        {"alg": "EdDSA", "created": 1, "sign_from": float("inf")},
        {"alg": "EdDSA", "created": 1, "sign_from": 1, "sealed": 1},
        {"alg": "EdDSA", "created": 1, "sign_from": 1, "revoked": "x"},
    ],
    ids=str,
)
def test_a_record_that_cannot_be_read(data, caplog):
    with pytest.raises(ValueError, match=r"^key 'a' cannot be read"):
        record_of("a", data)
    ring = Ring(SEALER)
    good = ops.init([], "EdDSA", SEALER, NOW)
    stored = {"a": data, good.kid: record_data(good)}
    ring.use_data({kid: SimpleNamespace(data=each) for kid, each in stored.items()})
    assert ring.current(NOW).kid == good.kid, "one bad record costs the others nothing"
    assert "left out" in caplog.text


# a folder


def test_a_folder_is_followed(tmp_path):
    files = KeyFiles(tmp_path / "keys")
    assert files.load() == []
    first = ops.init([], "EdDSA", None, NOW)
    with files.locked():
        files.save(first)
    ring = Ring()
    ring.use(files.load())
    public = tmp_path / "public.json"
    watch = RingWatch(ring, files, public, lambda: NOW)
    watch.poll()
    assert [jwk["kid"] for jwk in json.loads(public.read_text())["keys"]] == [first.kid]
    files.save(ops.rotate([first], None, None, NOW))
    watch.poll()
    watch.look(None)
    watch.poll()
    assert len(json.loads(public.read_text())["keys"]) == 2
    path = next((tmp_path / "keys").glob("*.json"))
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o640)
    with pytest.raises(ValueError, match="chmod 600"):
        files.load()
    watch.poll()
    watch.look(None)
    assert len(ring.public_jwks(NOW)["keys"]) == 2, "what cannot be read changes nothing"


def test_the_control_state_is_followed(tmp_path):
    ring = Ring(SEALER)
    watch = RingWatch(ring, None, tmp_path / "public.json", lambda: NOW)
    first = ops.init([], "EdDSA", SEALER, NOW)

    class Snapshot:
        asked = 0

        def records(self, collection):
            self.asked += 1
            assert collection == "keys"
            return {first.kid: SimpleNamespace(data=record_data(first))}

    one = Snapshot()
    watch.look(one)
    watch.look(one)
    assert (one.asked, ring.current(NOW).kid) == (1, first.kid)
    version = ring.version
    watch.look(Snapshot())
    assert ring.version == version, "the same records are no change"


class Over(BaseException):
    """As the deadline of a decision: it may come at any place."""


@pytest.mark.parametrize(
    "where", ["kong_plugins.identity.ring.open_record", "kong_plugins.identity.ring.states"]
)
def test_a_deadline_in_the_middle_takes_no_key_away(tmp_path, monkeypatch, where):
    """The first request with new keys opens them: were it stopped, the next one goes on."""
    ring = Ring(SEALER)
    watch = RingWatch(ring, None, tmp_path / "public.json", lambda: NOW)
    first = ops.init([], "RS256", SEALER, NOW)
    snapshot = SimpleNamespace(records=lambda _: {first.kid: SimpleNamespace(data=record_data(first))})

    def over(*_):
        raise Over

    def request():
        watch.look(snapshot)
        return ring.current(NOW)

    with monkeypatch.context() as patched:
        patched.setattr(where, over)
        with pytest.raises(Over):
            request()
    request()
    assert ring.current(NOW).kid == first.kid
    assert [each.kid for each in ring.keyrings(NOW)] == [first.kid]


def test_a_sealed_rsa_key_is_not_checked_again(monkeypatch):
    """That takes longer than a request has time (60 ms); it was checked when it was taken in."""
    seen = []
    load = serialization.load_pem_private_key

    def spy(raw, password, **options):
        seen.append(options)
        return load(raw, password, **options)

    record = ops.init([], "RS256", SEALER, NOW)
    monkeypatch.setattr(serialization, "load_pem_private_key", spy)
    Ring(SEALER).use([record])
    load_key(Keyring(make_key("RS256")).private_bytes(), "RS256")
    assert seen == [{"unsafe_skip_rsa_key_validation": True}, {"unsafe_skip_rsa_key_validation": False}]
