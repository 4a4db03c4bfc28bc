"""Blocks of user agents: a part of the header, in any case."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

MAX_AGENTS = 1_000
"""Patterns of one snapshot: each request with a User-Agent is looked at with all of them."""
_MAX_DEPTH = 24


@lru_cache(maxsize=4)
def agent_pattern(parts: frozenset[str]) -> re.Pattern[str] | None:
    """One expression that finds any of the parts (in lower case); None when there are none.

    Common beginnings are tried once: `ab|ac` becomes `a(?:b|c)`. An alternation of 1,000 parts as they are
    would cost 20 times as much. Kept for the next snapshot, which mostly has the same parts.
    """
    if not parts:
        return None
    return re.compile(_alternation(sorted(parts), 0))


def _alternation(parts: Iterable[str], depth: int) -> str:
    """An expression for sorted, different parts."""
    kept: list[str] = []
    for part in parts:
        # whoever holds "abc" holds "ab": the shorter one decides
        if not (kept and part.startswith(kept[-1])):
            kept.append(part)
    if depth >= _MAX_DEPTH or len(kept) == 1:
        return "|".join(map(re.escape, kept))
    groups: dict[str, list[str]] = {}
    for part in kept:
        groups.setdefault(part[:1], []).append(part)
    branches = []
    for group in groups.values():
        common = _common(group)
        rest = [part[len(common) :] for part in group]
        tail = "" if len(rest) == 1 else f"(?:{_alternation(rest, depth + 1)})"
        branches.append(re.escape(common if tail else group[0]) + tail)
    return "|".join(branches)


def _common(parts: list[str]) -> str:
    first, last = parts[0], parts[-1]  # sorted: what these two share, all share
    size = 0
    while size < min(len(first), len(last)) and first[size] == last[size]:
        size += 1
    return first[:size]
