"""The field `scenarios` of abuse-guard's config: what many requests together give away.

- use: path-scan          # one of the shipped ones (shipped.py); fields beside it replace the shipped values
- name: gift-cards        # or one of your own
  paths: [/gift/]         # the request: normalised path begins so ...
  path_parts: [/redeem]   #   ... or holds one of these
  methods: [POST]
  agent: missing          #   no User-Agent; agents: [part, ...]: the User-Agent holds one of these, in any case
  statuses: ["4xx", "503"]  # the answer, whoever made it; default any
  reasons: [token_expired]  #   the gateway's reason id
  group_by: [ip]          # ip | network | user | token | agent | route | tenant
  distinct: path          # count different ones only: path | user | ip | network | agent
  type: leaky             # | counter: so many within `window`
  capacity: 20            # more than so many: it overflows
  leak: 0.5               # so many a second leak out
  window: 60              # seconds of a counter
  relief: 0.1             # each well-answered request of the group takes so much out
  then: [block, notify]   # block | limit | mark | notify
  ttl: 600                # seconds; times `factor` for each offence before, up to max_ttl; +-10%
  score: 50               # of a mark
  limit_rate: 1           # requests a second of a limit
  simulate: false         # true: only tells what it would do
"""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Mapping
from functools import lru_cache
from hashlib import blake2b
from typing import Any

from kong_plugins.abuse_guard import shipped
from kong_plugins.abuse_guard.limit_config import (
    DAY,
    MAX_PATHS,
    filled,
    methods_of,
    name_of,
    path_parts_of,
    paths_of,
    records,
    whole,
)
from kong_plugins.abuse_guard.scenario import MAX_DISTINCT, Scenario, Scenarios
from kong_plugins.engine import fields

GROUPS = ("ip", "network", "user", "token", "agent", "route", "tenant")
DISTINCT = ("path", "user", "ip", "network", "agent")
ACTIONS = ("block", "limit", "mark", "notify")
BLOCKABLE = ("ip", "network", "user", "token")
MAX_SCENARIOS = 24

_TEXTS: dict[str, Any] = {"type": "array", "elements": {"type": "string"}, "len_max": MAX_PATHS}
_NUMBER: dict[str, Any] = {"type": "number"}

SCHEMA: dict[str, Any] = {
    "type": "array",
    "len_max": MAX_SCENARIOS,
    "default": [],
    "required": True,
    "elements": {
        "type": "record",
        # no defaults: what is absent comes from the shipped scenario
        "fields": [
            {"use": {"type": "string", "one_of": sorted(shipped.SCENARIOS)}},
            {"name": {"type": "string"}},
            {"paths": _TEXTS},
            {"path_parts": _TEXTS},
            {"methods": _TEXTS},
            {"agent": {"type": "string", "one_of": ["missing"]}},
            {"agents": {**_TEXTS, "len_max": 256}},
            {"statuses": _TEXTS},
            {"reasons": _TEXTS},
            {"group_by": {**_TEXTS, "len_min": 1}},
            {"distinct": {"type": "string", "one_of": list(DISTINCT)}},
            {"type": {"type": "string", "one_of": ["leaky", "counter"]}},
            {"capacity": {"type": "integer", "between": [1, 1_000_000]}},
            {"leak": _NUMBER},
            {"window": _NUMBER},
            {"relief": _NUMBER},
            {"then": _TEXTS},
            {"ttl": _NUMBER},
            {"max_ttl": _NUMBER},
            {"factor": _NUMBER},
            {"score": {"type": "integer", "between": [1, 100]}},
            {"limit_rate": _NUMBER},
            {"simulate": {"type": "boolean"}},
        ],
    },
}
"""Kong schema of the field."""

_STATUS = re.compile(r"[1-5](xx|[0-9]{2})")


def parse(raw: Mapping[str, Any]) -> Scenarios | None:
    """The scenarios of a config record, None without any. Raises ValueError naming the field."""
    given = records(raw, "scenarios", MAX_SCENARIOS)
    items = tuple(_scenario(item, f"scenarios[{number}]") for number, item in enumerate(given))
    if not items:
        return None
    names = [item.name for item in items]
    for number, name in enumerate(names):
        if name in names[:number]:
            raise ValueError(f"scenarios[{number}].name: {name!r} is there twice")
    tag = _hash(" ".join(item.id for item in items), 4)
    named = {part for item in items for part in (*item.group_by, item.distinct)}
    sees_all = any(
        not (item.paths or item.path_parts or item.methods or item.agents or item.without_agent)
        for item in items
    )
    return Scenarios(items, tag, _word_maker(items, tag, named), "user" in named, "token" in named, sees_all)


def _word_maker(
    items: tuple[Scenario, ...], tag: str, named: Container[str]
) -> Callable[[str, str, str], str]:
    # bit n of a mask: scenario n may look at a request with this path, agent, method. Each is remembered alone: an
    # agent that comes with a hundred paths is one agent
    bits = [(1 << number, item) for number, item in enumerate(items)]
    any_path = sum(bit for bit, item in bits if not (item.paths or item.path_parts))
    any_agent = sum(bit for bit, item in bits if not item.agents)
    pathed = [(bit, item.paths, item.path_parts) for bit, item in bits if item.paths or item.path_parts]
    agented = [(bit, item.agents) for bit, item in bits if item.agents]
    without_agent = sum(bit for bit, item in bits if item.without_agent)
    any_method = sum(bit for bit, item in bits if not item.methods)
    methods = {
        method: any_method | sum(bit for bit, item in bits if method in item.methods)
        for method in {method for item in items for method in item.methods}
    }

    hashes_path, hashes_agent = "path" in named, "agent" in named

    def of_path(path: str) -> tuple[int, str]:
        mask = any_path
        for bit, starts, parts in pathed:
            if path.startswith(starts):
                mask |= bit
                continue
            for part in parts:
                if part in path:
                    mask |= bit
                    break
        return mask, _hash(path, 4) if hashes_path else ""

    def of_agent(agent: str) -> tuple[int, str]:
        if not agent:
            return any_agent, ""
        mask, lower = any_agent & ~without_agent, agent.lower()
        for bit, parts in agented:
            for part in parts:
                if part in lower:
                    mask |= bit
                    break
        return mask, _hash(agent, 4) if hashes_agent else ""

    kept_path, kept_agent = lru_cache(maxsize=2048)(of_path), lru_cache(maxsize=2048)(of_agent)

    def word(path: str, method: str, agent: str) -> str:
        # what a client makes long is not worth keeping
        of_it, path_hash = (kept_path if len(path) <= 300 else of_path)(path)
        of_him, agent_hash = (kept_agent if len(agent) <= 300 else of_agent)(agent)
        mask = of_it & of_him & methods.get(method, any_method)
        return f"g={tag}.{mask:x}.{path_hash}.{agent_hash}" if mask else ""

    return word


def _hash(text: str, size: int) -> str:
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=size).hexdigest()


def _scenario(given: Mapping[str, Any], place: str) -> Scenario:
    try:
        raw = {key: value for key, value in given.items() if value is not None}
        use = fields.choice(raw, "use", tuple(shipped.SCENARIOS), "")
        if use:
            raw = {"name": use, **shipped.SCENARIOS[use], **raw}
        found = _built(raw)
        _check(found)
        return found
    except ValueError as error:
        raise ValueError(f"{place}.{error}") from error


def _built(raw: Mapping[str, Any]) -> Scenario:
    for field in ("group_by", "capacity", "then"):
        if raw.get(field) is None:
            raise ValueError(f"{field}: the field is required")
    is_counter = fields.choice(raw, "type", ("leaky", "counter"), "leaky") == "counter"
    if is_counter and raw.get("window") is None:
        raise ValueError("window: the field is required with type counter")
    if not is_counter and raw.get("window") is not None:
        raise ValueError("window: only with type counter")
    if not is_counter and raw.get("leak") is None:
        raise ValueError("leak: the field is required with type leaky")
    ttl = fields.number(raw, "ttl", 1, 30 * DAY, 600)
    content = repr(sorted((key, str(value)) for key, value in raw.items() if key != "use"))
    return Scenario(
        name=name_of(raw),
        id=_hash(content, 6),
        paths=paths_of(raw),
        path_parts=path_parts_of(raw),
        methods=methods_of(raw),
        without_agent=bool(fields.choice(raw, "agent", ("missing",), "")),
        agents=tuple(part.lower() for part in filled(raw, "agents")),
        statuses=frozenset(_each(raw, "statuses", _STATUS.fullmatch, "a status like 404 or 4xx")),
        reasons=frozenset(filled(raw, "reasons")),
        group_by=_each(raw, "group_by", GROUPS.__contains__, f"one of {', '.join(GROUPS)}"),
        distinct=fields.choice(raw, "distinct", DISTINCT, ""),
        capacity=whole(raw, "capacity", 1, 1_000_000, 20),
        leak=0.0 if is_counter else fields.number(raw, "leak", 1e-6, 1e6, 1),
        window=fields.number(raw, "window", 1, DAY, 60) if is_counter else 0.0,
        relief=fields.number(raw, "relief", 0, 1000, 0),
        then=_each(raw, "then", ACTIONS.__contains__, f"one of {', '.join(ACTIONS)}"),
        ttl=ttl,
        max_ttl=fields.number(raw, "max_ttl", 1, 30 * DAY, max(ttl, DAY)),
        factor=fields.number(raw, "factor", 1, 100, 2),
        score=whole(raw, "score", 1, 100, 50),
        limit_rate=fields.number(raw, "limit_rate", 0.001, 10_000, 1),
        simulate=fields.flag(raw, "simulate", False),
    )


def _each(
    raw: Mapping[str, Any], field: str, is_known: Callable[[str], object], what: str
) -> tuple[str, ...]:
    found = fields.texts(raw, field)
    for number, text in enumerate(found):
        if not is_known(text):
            raise ValueError(f"{field}[{number}]: {text!r} is not {what}")
    return tuple(dict.fromkeys(found))


def _check(found: Scenario) -> None:
    if not found.group_by:
        raise ValueError(f"group_by: at least one of {', '.join(GROUPS)}")
    if not found.then:
        raise ValueError(f"then: at least one of {', '.join(ACTIONS)}")
    if found.distinct and found.capacity >= MAX_DISTINCT:
        raise ValueError(f"capacity: {found.capacity} different ones, {MAX_DISTINCT - 1} are allowed")
    if found.distinct in found.group_by:
        raise ValueError(f"distinct: {found.distinct!r} is what is grouped by")
    for group, one in (("token", "user"), ("ip", "network")):
        if group in found.group_by and found.distinct == one:
            raise ValueError(f"distinct: {'an address' if group == 'ip' else 'a token'} has one {one!r}")
    if found.without_agent:
        if found.agents:
            raise ValueError(
                "agent: a request without a User-Agent holds none of agents: make it two scenarios"
            )
        if found.distinct == "agent" or "agent" in found.group_by:
            field = "distinct" if found.distinct == "agent" else "group_by"
            raise ValueError(f"{field}: without a User-Agent there is no 'agent'")
    if found.max_ttl < found.ttl:
        raise ValueError("max_ttl: less than ttl")
    if set(found.then) - {"notify"} and not set(found.group_by) & set(BLOCKABLE):
        raise ValueError(f"group_by: to act on somebody it needs one of {', '.join(BLOCKABLE)}")
    if {"limit", "mark"} & set(found.then) and not set(found.group_by) & {"ip", "network", "user"}:
        raise ValueError("then: limit and mark need ip, network or user in group_by")
