"""The device cookie: who has no verified identity is told apart by a random name that the gateway gave out.

    1.DEVICE.SIGNATURE      DEVICE: 16 bytes, SIGNATURE: 16 bytes keyed BLAKE2b (RFC 7693), both base64url

Signed, so that nobody can make up names until one falls into the canary. Whoever throws cookies away gets a new
name with each request, which cannot be prevented; such a client is spread over both arms as dice would.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from hmac import compare_digest

from kong_plugins.engine.facts import Facts
from kong_plugins.identity.signing import b64url

MAX_AGE = 365 * 86_400
_VERSION = "1"
_NAME_SIZE = 22
"""Characters of 16 bytes in base64url."""
_SIZE = len(_VERSION) + 2 * (1 + _NAME_SIZE)


def read(cookie_header: str, name: str, keys: Sequence[bytes]) -> str:
    """The device of the cookie, "" when there is none that one of the keys has signed. The first of several counts
    only when it is the only one: two readers could read two devices."""
    start = name + "="
    found = ""
    for pair in cookie_header.split(";"):
        pair = pair.strip(" \t")
        if pair.startswith(start):
            if found:
                return ""
            found = pair[len(start) :]
    if len(found) != _SIZE or not found.isascii():
        return ""
    version, _, rest = found.partition(".")
    device, _, signature = rest.partition(".")
    if version != _VERSION or len(device) != _NAME_SIZE:
        return ""
    for key in keys:
        if compare_digest(_sign(device, key), signature):
            return device
    return ""


def new(facts: Facts, key: bytes) -> str:
    """A device's name for this request. Kong's request id is random and not the client's to choose; the key hides
    it."""
    digest = blake2b(b"device:" + _bytes(facts.request_id), digest_size=16, key=key)
    return b64url(digest.digest())


def set_cookie(name: str, device: str, key: bytes, secure: bool) -> str:
    """The Set-Cookie header (RFC 6265, section 4.1)."""
    value = f"{_VERSION}.{device}.{_sign(device, key)}"
    flags = "; Secure" if secure else ""
    return f"{name}={value}; Path=/; Max-Age={MAX_AGE}; HttpOnly; SameSite=Lax{flags}"


def _sign(device: str, key: bytes) -> str:
    return b64url(blake2b(b"cookie:" + device.encode(), digest_size=16, key=key).digest())


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
