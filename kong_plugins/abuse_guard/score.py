"""What scenarios found about somebody who may still pass: a score for the service, or a slow pace.

The service gets `X-Abuse-Score: 70;reasons="coupon-hammering"`, an item with a parameter (RFC 9651): the higher
one of the address and its network, or that of the verified user, who counts before them. The gateway removes a
client's own header of that name.
"""

from __future__ import annotations

from kong_plugins.abuse_guard import trace
from kong_plugins.abuse_guard.groups import place_of
from kong_plugins.engine.facts import Facts
from kong_plugins.engine.problem import problem
from kong_plugins.engine.verdict import Verdict, merge
from kong_plugins.state.base import State
from kong_plugins.state.gcra import retry_after
from kong_plugins.state.marks import Mark

HEADER = "X-Abuse-Score"
LIMIT_BURST = 5
"""Requests at once that a scenario's limit lets pass."""


def of_address(facts: Facts, state: State, now: float, counts: bool) -> Verdict | None:
    """By the marks of the address (IPv6: of its /64) and of its network."""
    place = place_of(facts.ip)
    if place is None:
        return None
    found = [state.snapshot.marks.live(key, now) for key in (place.key, place.network)]
    return _of([mark for mark in found if mark is not None], facts, state, now, counts)


def of_user(facts: Facts, state: State, now: float, counts: bool) -> Verdict | None:
    """By the mark of the verified user."""
    who = facts.identity
    if who is None:
        return None
    mark = state.snapshot.marks.live(f"user {trace.hash_of_user(who) or who.key}", now)
    return _of([mark], facts, state, now, counts) if mark is not None else None


def _of(marks: list[Mark], facts: Facts, state: State, now: float, counts: bool) -> Verdict | None:
    if not marks:
        return None
    cells = state.cells
    for mark in marks:
        if mark.limit and cells is not None and counts:
            emission, now_ns = int(1e9 / mark.limit), cells.at(now)
            burst = LIMIT_BURST * emission
            admitted, tat = cells.gcra(f"mark {mark.key}", emission, burst, now_ns)
            if not admitted:
                wait = max(1, -(-(retry_after(tat, now_ns, emission, burst) or 0) // 1_000_000_000))
                detail = f"Too many requests of a kind that looks like abuse. Try again in {wait} s."
                return problem(
                    429, "scenario_limited", detail, facts.request_id, (("Retry-After", str(wait)),)
                )
    reasons = dict.fromkeys(reason for mark in marks for reason in mark.reasons)
    value = f'{max(mark.score for mark in marks)};reasons="{" ".join(reasons)}"'
    return Verdict(service_headers=((HEADER, value),))


def together(found: Verdict | None, marked: Verdict) -> Verdict:
    """A limit's effects with those of a mark, which may answer the client."""
    return marked if found is None or marked.status is not None else merge((found, marked))
