"""What scenarios found about somebody who may still pass: a score for the service, or a slow pace.

The service gets `X-Abuse-Score: 70;reasons="coupon-hammering"`, an item with a parameter (RFC 9651): the highest
of the address, its network and the verified user, with the reasons of all. The gateway removes a client's own header
of that name.
"""

from __future__ import annotations

from kong_plugins.abuse_guard import trace
from kong_plugins.abuse_guard.groups import place_of
from kong_plugins.engine.facts import Facts, Identity
from kong_plugins.engine.problem import problem
from kong_plugins.engine.verdict import Verdict, merge
from kong_plugins.state.base import Snapshot, State
from kong_plugins.state.gcra import retry_after
from kong_plugins.state.marks import Mark

HEADER = "X-Abuse-Score"
LIMIT_BURST = 5
"""Requests at once that a scenario's limit lets pass."""


def of_address(facts: Facts, snapshot: Snapshot, now: float) -> tuple[Mark, ...]:
    """The marks of the address (IPv6: of its /64) and of its network."""
    place = place_of(facts.ip)
    if place is None:
        return ()
    found = (snapshot.marks.live(key, now) for key in (place.key, place.network))
    return tuple(mark for mark in found if mark is not None)


def of_user(who: Identity, snapshot: Snapshot, now: float) -> tuple[Mark, ...]:
    """The mark of a verified user."""
    mark = snapshot.marks.live(f"user {trace.hash_of_user(who) or who.key}", now)
    return () if mark is None else (mark,)


def verdict_of(
    marks: tuple[Mark, ...], beside: tuple[Mark, ...], facts: Facts, state: State, now: float, counts: bool
) -> Verdict | None:
    """What follows from these marks: a score, or 429 where they slow down. None without any.

    beside: marks that are told too, and hold nobody up here: those of the address, when the user is known. counts:
    whether this run of the chain counts.
    """
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
    told = marks + beside
    reasons = dict.fromkeys(reason for mark in told for reason in mark.reasons)
    value = f'{max(mark.score for mark in told)};reasons="{" ".join(reasons)}"'
    return Verdict(service_headers=((HEADER, value),))


def together(found: Verdict | None, marked: Verdict) -> Verdict:
    """A limit's effects with those of a mark, which may answer the client."""
    return marked if found is None or marked.status is not None else merge((found, marked))
