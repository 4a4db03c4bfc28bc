"""JSON as security code must read it: no duplicate members, no NaN, no text that UTF-8 cannot hold.

Two parsers that read one document in two ways are how signature checks are got round (RFC 8725,
section 2.4; RFC 7515, section 4 lets a verifier refuse duplicate members).
"""

from __future__ import annotations

import json
from typing import Any


def loads(raw: bytes) -> Any:
    """Parse a UTF-8 document.

    Raises ValueError and nothing else, for any bytes.
    """
    try:
        text = raw.decode("utf-8")
        value = json.loads(text, object_pairs_hook=_members, parse_constant=_constant)
        if "\\u" in text:
            # only an escape can bring a lone surrogate, which would break every later encode
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except RecursionError:
        raise ValueError("nested too deep") from None
    return value


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a member is there twice")
    return found


def _constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")
