"""Certificates and keys, as Kong takes them (kong/db/schema/entities/{certificates,ca_certificates,keys}.lua and
kong/plugins/jwt/daos.lua). Whether a certificate has expired is not looked at: that needs a clock.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from decl.kong.entities import WITH_KEY

Found = Iterator[tuple[tuple[str, ...], str]]
"""The place in the entity and what is wrong there."""

KINDS = frozenset(("certificates", "ca_certificates", "jwt_secrets", "keys"))

_JWK = {"RSA": ("n", "e"), "EC": ("crv", "x", "y"), "OKP": ("crv", "x")}
"""The kinds of JSON Web Keys that Kong's OpenSSL loads, and what must be in them (RFC 7518, RFC 8037)."""


def check(kind: str, entity: Mapping[str, Any], known: Callable[[Any], bool]) -> Found:
    """What Kong would refuse in an entity of KINDS. known: whether a value is there to be looked at, and is not read
    late."""
    given = {name: value for name, value in entity.items() if known(value)}
    if kind in ("certificates", "keys"):  # the others take no references
        given = {name: value for name, value in given.items() if not _is_reference(value)}
    if kind == "certificates":
        yield from _certificates(given)
    elif kind == "ca_certificates" and "cert" in given:
        yield from _authority(given["cert"])
    elif kind == "jwt_secrets" and given.get("algorithm") in WITH_KEY:
        if _any_key(given.get("rsa_public_key")) is False:
            yield ("rsa_public_key",), "invalid key"
    elif kind == "keys":
        yield from _key(given, known)


def _certificates(given: Mapping[str, Any]) -> Found:
    kinds = []
    for cert_field, key_field, which in (("cert", "key", ""), ("cert_alt", "key_alt", "alternative ")):
        cert, key = _certificate(given.get(cert_field)), _private(given.get(key_field))
        if cert is False:
            yield (cert_field,), "invalid certificate"
        if key is False:
            yield (key_field,), "invalid key"
        if cert:
            kinds.append(type(cert.public_key()))
        if cert and key and _text(cert.public_key()) != _text(key.public_key()):
            yield (key_field,), f"{which}certificate does not match key"
    if len(kinds) == 2 and kinds[0] is kinds[1]:
        yield (
            ("cert_alt",),
            "certificate and alternative certificate need to have different type (e.g. RSA and ECDSA), the provided "
            "certificates were both of the same type",
        )


def _authority(text: str) -> Found:
    from cryptography import x509

    if text.count("-----BEGIN CERTIFICATE-----") > 1:
        yield ("cert",), "please submit only one certificate at a time"
        return
    cert = _certificate(text)
    if cert is False:
        yield ("cert",), "invalid certificate"
    if not cert:
        return
    try:
        is_authority = cert.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        is_authority = False
    except ValueError:
        return
    if not is_authority:
        missing = 'certificate does not appear to be a CA because it is missing the "CA" basic constraint'
        yield ("cert",), missing


def _key(given: Mapping[str, Any], known: Callable[[Any], bool]) -> Found:
    jwk, pem = given.get("jwk"), given.get("pem")
    if isinstance(jwk, str):
        try:
            jwk = json.loads(jwk)
        except ValueError:
            yield ("jwk",), "could not json decode jwk string"
            return
    if isinstance(jwk, Mapping):
        if "kid" in given and jwk.get("kid") != given["kid"]:
            yield ("jwk",), "kid in jwk.kid must be equal to keys.kid"
        elif not all(jwk.get(name) for name in _JWK.get(str(jwk.get("kty")), ("n", "crv"))):
            yield ("jwk",), "could not load JWK, likely not a valid key"
    if isinstance(pem, Mapping):
        if any(_is_reference(value) for value in pem.values()):
            return  # to Kong all is well then
        public = _public(pem["public_key"]) if known(pem.get("public_key")) else None
        private = _private(pem["private_key"]) if known(pem.get("private_key")) else None
        if public is False:
            yield ("pem", "public_key"), "could not load public key"
        if private is False:
            yield ("pem", "private_key"), "could not load private key"
        if public and private and _text(private.public_key()) != _text(public):
            yield ("pem", "public_key"), "public key does not match private key"


def _is_reference(value: Any) -> bool:
    return isinstance(value, str) and value.startswith("{vault://")


Loaded = Any
"""What was read; False when it cannot be read, None when there is nothing, or nothing that is known here."""


def _load(text: Any, load: Callable[[bytes], Any]) -> Loaded:
    from cryptography.exceptions import UnsupportedAlgorithm

    if not isinstance(text, str):
        return None
    try:
        return load(text.encode("utf-8", "surrogateescape"))
    except (ValueError, TypeError):  # TypeError: it is encrypted
        return False
    except UnsupportedAlgorithm:
        return None


def _certificate(text: Any) -> Loaded:
    from cryptography import x509

    if isinstance(text, str) and "-----BEGIN TRUSTED CERTIFICATE-----" in text:
        return None  # OpenSSL's own form
    return _load(text, x509.load_pem_x509_certificate)


def _private(text: Any) -> Loaded:
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    return _load(text, lambda data: load_pem_private_key(data, None))


def _public(text: Any) -> Loaded:
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    return _load(text, load_pem_public_key)


def _any_key(text: Any) -> Loaded:
    found = _public(text)
    return _private(text) if found is False else found


def _text(key: Any) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    made: bytes = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return made
