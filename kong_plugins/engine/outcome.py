"""Outcome: what became of one request, as Kong's worker saw it in its log phase (docs/protocol.md)."""

from __future__ import annotations

from typing import NamedTuple


class Outcome(NamedTuple):
    """What became of one request; all text, as nginx wrote it.

    upstream_status lists the tries ("502, 200"); source is who made the answer: service, error (Kong, for a
    failed service), exit (a plugin), kgate (the guard or a gate plugin); memo is what the filters left in the
    verdict (`memo_of` reads it).
    """

    route: str
    service: str
    tenant: str
    status: str
    upstream_status: str
    tries: str
    milliseconds: str
    source: str
    reason: str
    arm: str
    memo: str
    ip: str


def memo_of(memo: str, name: str) -> str | None:
    """The value of `name=value` in an outcome's memo: filters write such words, joined by spaces."""
    start = f"{name}="
    for word in memo.split(" "):
        if word.startswith(start):
            return word[len(start) :]
    return None
