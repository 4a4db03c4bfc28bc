"""Trace: what the analyst must know of a request, as words of the verdict's memo.

    g=TAG.MASK.PATH.AGENT    TAG: hash of the config's scenarios; MASK: hexadecimal, bit n: the request is one that
                             scenario n looks at; PATH, AGENT: hashes, where a scenario asks for them
    gu=USER, gt=TOKEN        the verified user ("issuer|subject") and the token's id, percent-encoded or "#" and a
                             hash; with a user's hash the token's hash

What clients send travels as hashes only; of a user the name, because a block needs it.
"""

from __future__ import annotations

import re
from functools import lru_cache
from hashlib import blake2b
from typing import NamedTuple
from urllib.parse import quote, unquote

from kong_plugins.abuse_guard.scenario import Scenarios
from kong_plugins.engine.facts import Facts, Identity

_PLAIN = re.compile(r"[A-Za-z0-9._~/:|@-]*").fullmatch
"""Text that `quote` leaves as it is."""
_LONGEST_USER, _LONGEST_TOKEN = 120, 40
"""Characters of a memo of 320, which other filters write into too. 120: an issuer with a UUID in its path, and the
subjects of such."""


class Trace(NamedTuple):
    """A memo, read. user and token are "" where none was verified; beginning with "#" they are hashes."""

    tag: str
    mask: int
    path: str
    agent: str
    user: str
    token: str


def of_stranger(scenarios: Scenarios, facts: Facts) -> str:
    """The word of a request before it is known who makes it, "" when no scenario looks at it."""
    return scenarios.word(facts.path, facts.method, facts.headers.get("user-agent", ""))


def of_identified(scenarios: Scenarios, facts: Facts) -> str:
    """The words about who makes it, "" when nobody needs them."""
    who = facts.identity
    if who is None or not (scenarios.wants_user or scenarios.wants_token):
        return ""
    if not scenarios.sees_all and not of_stranger(scenarios, facts):
        return ""
    user = _named(who.key, _LONGEST_USER)
    if not scenarios.wants_token:
        return f"gu={user}"
    # where the user is a hash it does not say whose the token's id is
    token = _named(who.token_id, _LONGEST_TOKEN) if who.token_id and user[0] != "#" else "#"
    return f"gu={user} gt={hash_of_token(who) if token[0] == '#' else token}"


def hash_of_token(who: Identity) -> str:
    """What a token without an id, or with one too long to send along, is known by in traces and blocks."""
    return "#" + who.token.hex()[:16]


@lru_cache(maxsize=4096)
def _hash_of_user(key: str) -> str:
    named = _named(key, _LONGEST_USER)
    return named if named[0] == "#" else ""


def hash_of_user(who: Identity) -> str:
    """What a user whose name is too long to send along is known by in traces, blocks and marks; "" for others."""
    return _hash_of_user(who.key)


def read(memo: str) -> Trace | None:
    """The trace in a memo; None where there is none, or it is not whole."""
    if not memo.startswith("g=") and " g=" not in memo:
        return None
    words = dict(word.partition("=")[::2] for word in memo.split(" "))
    parts = words.get("g", "").split(".")
    if len(parts) != 4:
        return None
    try:
        mask = int(parts[1], 16)
    except ValueError:
        return None
    user, token = unquote(words.get("gu", "")), unquote(words.get("gt", ""))
    if token and not user.startswith("#"):
        token = f"{user.partition('|')[0]}|{token}"
    return Trace(parts[0], mask, parts[2], parts[3], user, token)


def _named(key: str, longest: int) -> str:
    if len(key) <= longest and _PLAIN(key):
        return key
    text = quote(key, safe="/:|@~", errors="surrogatepass") if key.isprintable() else ""
    if text and len(text) <= longest:
        return text
    return "#" + blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
