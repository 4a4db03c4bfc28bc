"""Runs requests through abuse-guard's filters and its analyst on simulated time."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import Any, NamedTuple

from bench.abuse_traffic import ISSUER, Request
from kong_plugins.abuse_guard import shipped
from kong_plugins.abuse_guard.analyst import Analyst
from kong_plugins.abuse_guard.config import Config, parse
from kong_plugins.abuse_guard.core import decide_identified, decide_stranger
from kong_plugins.abuse_guard.groups import place_of
from kong_plugins.engine.analyst import Conclusion
from kong_plugins.engine.facts import Facts, Identity
from kong_plugins.engine.outcome import Outcome
from kong_plugins.engine.verdict import Verdict
from kong_plugins.state.base import State
from kong_plugins.state.cells import Cells
from kong_plugins.state.records import Put, Record
from kong_plugins.state.snapshot import Snapshot, empty_snapshot

START = 1_800_000_000.0
BATCH_SECONDS = 0.1
"""Outcomes come to the analyst so late."""
PROPAGATION_SECONDS = 0.1
"""And what it concludes to the filters."""
CONFIG: dict[str, Any] = {"scenarios": [{"use": name} for name in shipped.SCENARIOS]}


class Found(NamedTuple):
    """A conclusion: when (seconds from the start), of which scenario, what was done to whom."""

    time: float
    scenario: str
    kind: str
    key: str


class Result(NamedTuple):
    """held_back: findings that led to nothing, because the gateway limits itself. requests, refused: by attack
    ("": normal traffic). Of the normal traffic also refused_by: by reason, and
    refused_for: by the scenario whose block or mark it was ("": none, a limit or a list of the config)."""

    found: list[Found]
    held_back: list[Found]
    requests: Counter[str]
    refused: Counter[str]
    refused_by: Counter[str]
    refused_for: Counter[str]


class Replay:
    """A gateway of one node with one config on all routes."""

    def __init__(self, config: dict[str, Any] | None = None) -> None:
        self.config: Config = parse(CONFIG if config is None else config)
        self.analyst = Analyst(b"a fixed seed: 16")
        self.analyst.configure([self.config])
        self.snapshot: Snapshot = empty_snapshot()
        self.cells = Cells.attach(Cells.create(1 << 16))
        self.found: list[Found] = []
        self.held_back: list[Found] = []
        self._version = 0
        self._scenarios: dict[str, str] = {}

    def decide(self, request: Request, now: float) -> Verdict:
        """What the filters say, with the memo of both passes."""
        facts = facts_of(request)
        who = Identity(ISSUER, request.user, request.token) if request.user else None
        state = State(self.snapshot, None, {}, self.cells)  # type: ignore[arg-type] # no filter asks it
        first = decide_stranger(facts, self.config, state, now)
        if isinstance(first, Verdict) and first.status is not None:
            return first
        second = decide_identified(facts.of(who), self.config, state, now) if who is not None else None
        verdicts = [one for one in (first, second) if isinstance(one, Verdict)]
        memo = " ".join(one.memo for one in verdicts if one.memo)
        if not request.token:  # a log does not say which: it is not one and the same
            memo = " ".join(word for word in memo.split(" ") if not word.startswith("gt="))
        return (verdicts[-1] if verdicts else Verdict())._replace(memo=memo)

    def timed(self, facts: Facts, now: float) -> int:
        """Nanoseconds of processor time that a stranger's decision takes."""
        state = State(self.snapshot, None, {}, self.cells)  # type: ignore[arg-type] # no filter asks it
        started = time.thread_time_ns()
        decide_stranger(facts, self.config, state, now)
        return time.thread_time_ns() - started

    def run(self, requests: Iterable[Request]) -> Result:
        """All requests, in the order of time."""
        sent: Counter[str] = Counter()
        refused: Counter[str] = Counter()
        refused_by: Counter[str] = Counter()
        refused_for: Counter[str] = Counter()
        batch: list[Outcome] = []
        waiting: list[tuple[float, Conclusion]] = []
        batch_at = BATCH_SECONDS
        for request in requests:
            while request.time >= batch_at:
                now = START + batch_at
                made = self.analyst.take(batch, now) + self.analyst.tick(now)
                batch = []
                self._note(made, batch_at)
                waiting += [(batch_at + PROPAGATION_SECONDS, one) for one in made if one.collection]
                ready = [one for due, one in waiting if due <= batch_at]
                if ready:
                    waiting = [each for each in waiting if each[0] > batch_at]
                    self._apply(ready, now)
                batch_at += BATCH_SECONDS
                if not (batch or waiting or made):
                    # a night without requests is no work
                    batch_at += max(0.0, (request.time - batch_at) // BATCH_SECONDS * BATCH_SECONDS)
            sent[request.attack] += 1
            verdict = self.decide(request, START + request.time)
            status = request.status
            if verdict.status is not None:
                status = verdict.status
                refused[request.attack] += 1
                if not request.attack:
                    refused_by[verdict.reason] += 1
                    refused_for[self._scenario_of(request, verdict.reason)] += 1
            batch.append(
                Outcome(
                    "route", "s", "t", str(status), "", "1", "5", "service", verdict.reason, "", verdict.memo,
                    request.ip,
                )
            )  # fmt: skip
        return Result(self.found, self.held_back, sent, refused, refused_by, refused_for)

    def _note(self, made: list[Conclusion], at: float) -> None:
        for one in made:
            if one.collection:
                self.found.append(Found(at, str(one.numbers["scenario"]), one.kind, one.key))
            elif one.kind == "abuse.held_back":
                self.held_back.append(Found(at, str(one.numbers["scenario"]), one.kind, one.subject))

    def _scenario_of(self, request: Request, reason: str) -> str:
        """Whose block or mark it was that refused this request: of its keys the one that the reason speaks of."""
        place = place_of(request.ip)
        addresses = (place.key, f"ip {request.ip}", place.network) if place is not None else ()
        users = (f"user {ISSUER}|{request.user}",)
        keys = {
            "ip_blocked": addresses,
            "user_blocked": users,
            "token_blocked": (f"token {ISSUER}|{request.token}",),
            "scenario_limited": (*users, *addresses),
        }.get(reason, ())
        return next((self._scenarios[key] for key in keys if key in self._scenarios), "")

    def _apply(self, ready: list[Conclusion], now: float) -> None:
        self._version += 1
        self._scenarios |= {one.key: str(one.numbers["scenario"]) for one in ready}
        changes = {
            (one.collection, one.key): Put(
                Record(one.collection, one.key, dict(one.data or {}), expires=now + (one.ttl or 0))
            )
            for one in ready
        }
        self.snapshot = self.snapshot.applied(list(changes.values()), self._version)


def facts_of(request: Request) -> Facts:
    """A request before it is known who makes it."""
    headers = {"user-agent": request.agent} if request.agent else {}
    return Facts(
        "r", request.ip, "https", request.method, "h", request.path, request.path, "route", "s", "t", "",
        frozenset(), headers,
    )  # fmt: skip


def keys_of(requests: Iterable[Request]) -> dict[str, set[str]]:
    """By attacker: the keys of blocks and marks that hit him and that are right."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for request in requests:
        keys = found[request.attacker]
        keys.add(f"ip {request.ip}")
        if request.attack == "network-burst":
            keys.add(f"cidr {request.ip.rpartition('.')[0]}.0/24")
        if request.user:
            keys |= {f"user {ISSUER}|{request.user}", f"token {ISSUER}|{request.token}"}
    return dict(found)
