"""Where a request carries its token, and what it says of its device.

    authorization     the Authorization header, scheme Bearer (RFC 6750, section 2.1)
    header:NAME       the whole value of a header
    cookie:NAME       a cookie's value

A token in two places, or a cookie that is there twice, is refused: two readers could read two users
(RFC 6750, section 2: one method in a request).
"""

from __future__ import annotations

import re

from kong_plugins.engine.facts import Facts, Identity

MAX_DEVICE = 128
_BEARER = re.compile(r"[ \t]*bearer(?:[ \t]+|$)", re.IGNORECASE | re.ASCII)
_SPACE = (" ", "\t", "")


class Ambiguous(Exception):
    """There is more than one token."""


class Truncated(Exception):
    """The header that would hold the token was cut off: what it says is not known. `name` is the header's."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


def bearer(value: str) -> str | None:
    """The token of a bearer Authorization; None when there is none or the scheme is another."""
    if value[:7] == "Bearer " and value[7:8] not in _SPACE:
        return value[7:].rstrip(" \t")  # as nearly everybody writes it
    # no other white space: what Unicode calls so is part of a name to other readers (RFC 9110, section 5.6.3)
    parts = _BEARER.match(value)
    return value[parts.end() :].rstrip(" \t") if parts else None


def cookies(value: str, name: str) -> list[str]:
    """The values of a cookie (RFC 6265, section 5.4), quotes taken off."""
    found = []
    for pair in value.split(";"):
        key, separator, text = pair.partition("=")
        if separator and key.strip(" \t") == name:
            text = text.strip(" \t")
            found.append(text[1:-1] if len(text) > 1 and text[0] == text[-1] == '"' else text)
    return found


def find(facts: Facts, places: tuple[tuple[str, str], ...]) -> str | None:
    """The token, None when there is none. places are (kind, name) in lower case but for a cookie's name.

    Raises Ambiguous and Truncated.
    """
    found: str | None = None
    for kind, name in places:
        header = "cookie" if kind == "cookie" else name
        if header in facts.truncated:
            raise Truncated(header)
        value = facts.headers.get(header)
        if value is None:
            continue
        if kind == "authorization":
            token = bearer(value)
        elif kind == "cookie":
            values = cookies(value, name)
            if len(values) > 1:
                raise Ambiguous
            token = values[0] if values and values[0] else None
        else:
            token = value.strip(" \t") or None
        if token is None:
            continue
        if found is not None:
            raise Ambiguous
        found = token
    return found


def without_cookie(value: str, name: str) -> str:
    """The Cookie header without a cookie; "" when nothing is left."""
    kept = [pair.strip(" \t") for pair in value.split(";") if pair.partition("=")[0].strip(" \t") != name]
    return "; ".join(pair for pair in kept if pair)


def device_of(facts: Facts, identity: Identity | None, place: tuple[str, str]) -> str:
    """The device as the client names it; "" when it does not, or not in at most MAX_DEVICE printable characters."""
    kind, name = place
    if kind == "claim":
        value = None if identity is None else identity.claims.get(name)
    elif kind == "cookie":
        values = [] if "cookie" in facts.truncated else cookies(facts.headers.get("cookie", ""), name)
        value = values[0] if len(values) == 1 else None
    else:
        value = facts.headers.get(name)
    if not isinstance(value, str) or not 0 < len(value) <= MAX_DEVICE:
        return ""
    return value if value.isascii() and value.isprintable() else ""
