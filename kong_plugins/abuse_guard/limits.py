"""Limits: which of them a request has to keep, and what follows.

Source of the algorithm: state/gcra.py. Of one pass all limits count a request, or none does. Their keys:
limit_keys.py.

The chain may run twice for a request: with answers when there were asks. So that nothing counts twice, the limits
of a pass that asks are counted in the second run, those of a pass that does not in the first.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from kong_plugins.abuse_guard import limit_headers
from kong_plugins.abuse_guard.limit_config import Limit
from kong_plugins.abuse_guard.limit_headers import refused
from kong_plugins.abuse_guard.limit_keys import key_of
from kong_plugins.abuse_guard.limit_quick import Quick, quick_of
from kong_plugins.engine.ask import Ask
from kong_plugins.engine.facts import Facts
from kong_plugins.engine.verdict import Verdict, merge
from kong_plugins.state.base import State
from kong_plugins.state.cells import Cells, Charge, Charged
from kong_plugins.state.gcra import decide

ASK_KIND = "limits"
STRANGER_ASK = "abuse-guard limits of strangers"
IDENTIFIED_ASK = "abuse-guard limits of users"
_charge = Charge._make


class LimitPass(NamedTuple):
    """The limits of one pass of the chain. local and strict count, dry only tells; quick: the short way, where there
    is one."""

    local: tuple[Limit, ...] = ()
    strict: tuple[Limit, ...] = ()
    dry: tuple[Limit, ...] = ()
    quick: Quick | None = None


def pass_of(limits: Sequence[Limit], identified: bool) -> LimitPass:
    """The limits that are decided before (False) or after (True) it is known who it is."""
    mine = [limit for limit in limits if limit.is_identified == identified]
    return LimitPass(
        tuple(limit for limit in mine if not limit.dry_run and not limit.is_strict),
        tuple(limit for limit in mine if not limit.dry_run and limit.is_strict),
        tuple(limit for limit in mine if limit.dry_run),
        quick_of(mine),
    )


def keys_of(limits: LimitPass, facts: Facts, address: str) -> list[str]:
    """The keys under which a request counts, for people who ask why (`kgate explain`)."""
    every = (limits.local + limits.strict + limits.dry) if facts.identity or not _needs_user(limits) else ()
    return [charge.key for charge in _charges(every, facts, address)[0]]


def _needs_user(limits: LimitPass) -> bool:
    return any(limit.is_identified for limit in limits.local + limits.strict + limits.dry)


def _charges(limits: tuple[Limit, ...], facts: Facts, address: str) -> tuple[list[Charge], list[Limit]]:
    charges, counted = [], []
    for limit in limits:
        if limit.is_plain:
            charges.append(
                _charge((key_of(limit, facts, address), limit.emission, limit.burst_ns, limit.cost))
            )
            counted.append(limit)
            continue
        cost = limit.costs.get(facts.route, limit.cost) if limit.costs else limit.cost
        if not cost:
            continue
        if limit.methods and facts.method not in limit.methods:
            continue
        if limit.paths and not facts.path.startswith(limit.paths):
            continue
        charges.append(Charge(key_of(limit, facts, address), limit.emission, limit.burst_ns, cost))
        counted.append(limit)
    return charges, counted


def check(
    limits: LimitPass, name: str, facts: Facts, address: str, state: State, now: float, headers: bool
) -> Verdict | Ask | None:
    """Count a request: 429 `rate_limited` when a limit refuses it, RateLimit headers when not (`headers`).

    name is the ask's, one for each pass. now is Unix time in seconds; limits count by the cells' own clock, which
    does not jump and is that of what other nodes tell. A strict limit becomes an Ask; with no answer
    in time it counts on this node, as local-first does.
    """
    cells = state.cells
    now_ns = cells.at(now) if cells is not None else int(now * 1e9)
    if limits.quick is not None and cells is not None and not state.answers:
        return limits.quick(facts, address, cells, now_ns, headers)
    local, counted = _charges(limits.local, facts, address) if limits.local else ([], [])
    asked, strict = _charges(limits.strict, facts, address) if limits.strict else ([], [])
    if asked and name not in state.answers:
        # what this node refuses by itself shall cost nothing in Redis
        here = _refused_here(local, counted, cells, now_ns, facts, headers) if cells is not None else None
        return here or Ask(ASK_KIND, name, tuple(part for charge in asked for part in charge))
    if state.answers and not asked:  # another pass asked: here all was counted in the first run
        return _seen(limits, local, counted, facts, address, cells, now_ns, headers) if cells else None
    effects: list[Verdict] = []
    if asked:
        answer = state.answers[name]
        if answer is None:
            local, counted, asked, strict = local + asked, counted + strict, [], []
        else:
            admitted, tats = answer
            if not admitted:
                if cells is not None:
                    cells.note_refused(asked, tats, now_ns)
                return refused(strict, asked, tats, now_ns, facts, headers)
            if headers:
                effects.append(Verdict(headers=limit_headers.marks(strict, tats, now_ns)))
            if _is_refused(state):
                asked, strict = [], []  # by the other pass: Redis counted none of them
    if cells is not None and (local or asked):
        # strict ones too: when Redis does not answer, the node knows what it has let pass
        admitted, found = _count(cells, local + asked, now_ns)
        if not admitted:
            return refused(counted + strict, local + asked, found, now_ns, facts, headers)
        if headers and local:
            effects.append(Verdict(headers=limit_headers.marks(counted, found[: len(local)], now_ns)))
    if cells is not None and limits.dry:
        told = _dry(limits.dry, facts, address, cells, now_ns)
        if told is not None:
            effects.append(told)
    return merge(effects) if effects else None


def _is_refused(state: State) -> bool:
    """Whether Redis refused the request: for all passes at once."""
    answers = (state.answers.get(name) for name in (STRANGER_ASK, IDENTIFIED_ASK))
    return any(answer is not None and not answer[0] for answer in answers)


def _refused_here(
    charges: list[Charge], limits: list[Limit], cells: Cells, now_ns: int, facts: Facts, headers: bool
) -> Verdict | None:
    """The refusal of the local limits beside strict ones, None when they admit; nothing is counted."""
    tats = [cells.tat(charge.key, now_ns) for charge in charges]
    if cells.note_refused(charges, tats, now_ns):
        return refused(limits, charges, tats, now_ns, facts, headers)
    return None


def _count(cells: Cells, charges: Sequence[Charged], now_ns: int) -> tuple[bool, list[int]]:
    if len(charges) == 1:
        key, emission, burst, cost = charges[0]
        admitted, tat = cells.gcra(key, emission, burst, now_ns, cost)
        return admitted, [tat]
    return cells.gcra_all(charges, now_ns)


def _seen(
    limits: LimitPass,
    charges: list[Charge],
    counted: list[Limit],
    facts: Facts,
    address: str,
    cells: Cells,
    now_ns: int,
    headers: bool,
) -> Verdict | None:
    """What the first run said, without counting again."""
    effects: list[Verdict] = []
    if headers and charges:
        tats = [cells.tat(charge.key, now_ns) for charge in charges]
        effects.append(Verdict(headers=limit_headers.marks(counted, tats, now_ns)))
    if limits.dry:
        # of the last request that a burst has room for this says too much; of no other
        tried, which = _charges(limits.dry, facts, address)
        told = _told_dry(
            limit
            for limit, (key, *charge) in zip(which, tried, strict=True)
            if not decide(cells.tat(key, now_ns), now_ns, *charge)[0]
        )
        if told is not None:
            effects.append(told)
    return merge(effects) if effects else None


def _dry(limits: tuple[Limit, ...], facts: Facts, address: str, cells: Cells, now_ns: int) -> Verdict | None:
    charges, counted = _charges(limits, facts, address)
    return _told_dry(
        limit
        for limit, (key, emission, burst, cost) in zip(counted, charges, strict=True)
        if not cells.gcra(key, emission, burst, now_ns, cost)[0]
    )


def _told_dry(over: Iterable[Limit]) -> Verdict | None:
    names = ",".join(limit.name for limit in over)
    return Verdict(reason="rate_limit_dry_run", memo=f"dry={names[:60]}") if names else None
