"""JWKS documents: which keys are taken, for which algorithm."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given, settings
from hypothesis import strategies as st

from kong_plugins.identity.jwks import MAX_KEYS, Key, KeySet, parse_jwks, single_key

DEFAULT = ("RS256", "ES256", "EdDSA")


def taken(document, algorithms=DEFAULT):
    return [(key.kid, key.alg) for key in parse_jwks(document, algorithms).keys]


def test_all(mint):
    algs = [key["alg"] for key in mint.jwks()["keys"]]
    assert len(algs) == 13
    assert taken(mint.jwks(), tuple(algs)) == [(alg, alg) for alg in algs]
    assert taken(mint.jwks()) == [(alg, alg) for alg in DEFAULT]


@pytest.mark.parametrize(
    ("alg", "algorithms", "chosen"),
    [
        ("RS256", DEFAULT, "RS256"),
        ("RS256", ("PS256", "RS256"), "PS256"),
        ("ES384", ("ES256", "ES384"), "ES384"),
        ("HS256", ("HS256",), "HS256"),
        ("EdDSA", DEFAULT, "EdDSA"),
    ],
)
def test_without_alg_the_first_that_fits(mint, alg, algorithms, chosen):
    jwk = mint.jwk(alg)
    del jwk["alg"], jwk["use"]
    assert taken({"keys": [jwk]}, algorithms) == [(alg, chosen)]


@pytest.mark.parametrize(
    "jwk",
    [
        lambda m: m.jwk("EdDSA", use="enc"),
        lambda m: m.jwk("EdDSA", key_ops=["sign"]),
        lambda m: m.jwk("EdDSA", key_ops="verify"),
        lambda m: m.jwk("EdDSA", kid=7),
        lambda m: m.jwk("EdDSA", x="AAAA"),
        lambda m: m.jwk("EdDSA", x=5),
        lambda m: m.jwk("EdDSA", crv="Ed448"),
        lambda m: m.jwk("EdDSA", d="AAAA"),
        lambda m: m.jwk("EdDSA", alg="none"),
        lambda m: m.jwk("EdDSA", alg=["EdDSA"]),
        lambda m: m.jwk("EdDSA", alg="RS256"),
        lambda m: m.jwk("HS256"),
        lambda m: m.jwk("RS256", alg="HS256"),
        lambda m: m.jwk("HS256", alg="RS256"),
        lambda m: m.jwk("RS256", alg="RSA-OAEP"),
        lambda m: m.jwk("RS256", n="AQAB"),
        lambda m: m.jwk("RS256", n=""),
        lambda m: m.jwk("ES256", crv="P-384"),
        lambda m: m.jwk("ES256", x=m.jwk("ES256")["y"]),
        lambda m: m.jwk("ES256", kty="quantum"),
        lambda m: {"kid": "EdDSA"},
        lambda m: "EdDSA",
        lambda m: None,
    ],
)
def test_useless_key_is_left_out(mint, jwk):
    document = {"keys": [jwk(mint), mint.jwk("EdDSA", kid="good")]}
    assert taken(document) == [("good", "EdDSA")]


@pytest.mark.parametrize("bits", [1024, 2047])
def test_short_rsa_key(mint, bits):
    key = rsa.generate_private_key(65537, bits)
    with pytest.raises(ValueError, match="short"):
        single_key(key.public_key(), ("RS256",))


@pytest.mark.parametrize(("alg", "size"), [("HS256", 31), ("HS384", 47), ("HS512", 63)])
def test_short_secret(alg, size):
    with pytest.raises(ValueError, match="short"):
        single_key(b"x" * size, (alg,))


@pytest.mark.parametrize(
    "document",
    [None, [], {}, {"keys": {}}, {"keys": []}, {"keys": [None]}, {"keys": None}, "keys", {"keys": "abc"}],
    ids=str,
)
def test_no_jwks(document):
    with pytest.raises(ValueError, match=r"JWKS|no key"):
        parse_jwks(document, DEFAULT)


def test_not_more_than_the_first(mint):
    document = {"keys": [mint.jwk("EdDSA", kid=str(n)) for n in range(MAX_KEYS + 5)]}
    assert len(parse_jwks(document, DEFAULT)) == MAX_KEYS


def test_find(mint):
    document = {"keys": [mint.jwk("EdDSA"), mint.jwk("RS256"), mint.jwk("EdDSA", kid="RS256")]}
    keys = parse_jwks(document, DEFAULT)
    # one kid for two keys of two types: each is found by its own algorithm
    assert [key.alg for key in keys.find("RS256", "RS256")] == ["RS256"]
    assert [key.alg for key in keys.find("RS256", "EdDSA")] == ["EdDSA"]
    assert keys.find("other", "EdDSA") == ()
    assert keys.find(None, "EdDSA") == ()  # two could be meant
    assert [key.kid for key in keys.find(None, "RS256")] == ["RS256"]
    assert keys.find("EdDSA", "HS256") == ()


def test_fingerprint_tells_keys_apart(mint):
    one = parse_jwks(mint.jwks("EdDSA"), DEFAULT)
    assert one.fingerprint == parse_jwks(mint.jwks("EdDSA"), DEFAULT).fingerprint
    assert one.fingerprint != parse_jwks(mint.jwks("EdDSA", "RS256"), DEFAULT).fingerprint
    assert one.fingerprint != parse_jwks({"keys": [mint.jwk("EdDSA", kid="2")]}, DEFAULT).fingerprint


def test_repr_shows_no_secret(mint):
    keys = KeySet([Key("k", "HS256", b"hush" * 16)], "")
    assert "hush" not in repr(keys) + str(keys.keys)


MEMBERS = ["kty", "kid", "alg", "use", "key_ops", "crv", "x", "y", "n", "e", "k", "d"]


@settings(max_examples=80, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(MEMBERS),
        st.none() | st.integers() | st.text() | st.lists(st.text(), max_size=2) | st.just("AQAB"),
    ),
    st.sampled_from(["RS256", "ES256", "EdDSA", "HS256"]),
)
def test_any_key_is_taken_or_left_out(mint, changes, alg):
    document = {"keys": [mint.jwk(alg) | changes, mint.jwk("EdDSA")]}
    assert ("EdDSA", "EdDSA") in taken(document, (*DEFAULT, "HS256"))
