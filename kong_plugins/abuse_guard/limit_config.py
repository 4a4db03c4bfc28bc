"""The field `limits` of abuse-guard's config: rate limits, several of them.

    - name: per-user        # limits of the same name share their counts, over routes and services
      key: [user]           # ip | user | token | route | tenant | header:NAME, one or several together
      rate: 10              # so many in `per` seconds, in the long run
      per: 1
      burst: 20             # so many at once; default: rate, at least 1
      cost: 1               # what a request counts; 0: nothing
      costs: {search: 5}    # by the route's name
      paths: [/api/]        # only paths that begin so (normalised); default all
      methods: [POST]       # default all
      policy: local-first   # | strict: one question to Redis a request
      dry_run: false        # true: counts and tells, refuses nothing

A limit keyed by user or token counts requests with a verified token and no others.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import ceil
from typing import Any

from kong_plugins.engine import fields

KEYS = ("ip", "user", "token", "route", "tenant")
IDENTIFIED = frozenset(("user", "token"))
MAX_LIMITS = 16
MAX_PATHS = 64
MAX_COUNT = 1_000_000
DAY = 86_400.0

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_HEADER = re.compile(r"header:[A-Za-z0-9][A-Za-z0-9-]{0,63}")
_ESCAPE = re.compile(r"%[0-9A-Fa-f]{2}")
_NOT_NORMAL = re.compile(r"//|/\./|/\.\./|\?")
_RESERVED = frozenset("!#$%&'()*+,/:;=?@[]")
"""Characters that stay escaped in Kong's normalised path, in capitals; all others are decoded."""
_METHOD = re.compile(r"[A-Z]{1,20}")

_TEXTS: dict[str, Any] = {"type": "array", "elements": {"type": "string"}}

SCHEMA: dict[str, Any] = {
    "type": "array",
    "len_max": MAX_LIMITS,
    "default": [],
    "required": True,
    "elements": {
        "type": "record",
        "fields": [
            {"name": {"type": "string", "required": True}},
            {"key": {**_TEXTS, "required": True, "len_min": 1, "len_max": 6}},
            {"rate": {"type": "number", "required": True, "gt": 0}},
            {"per": {"type": "number", "default": 1, "gt": 0}},
            {"burst": {"type": "integer", "between": [1, MAX_COUNT]}},
            {"cost": {"type": "integer", "default": 1, "between": [0, MAX_COUNT]}},
            {
                "costs": {
                    "type": "map",
                    "keys": {"type": "string"},
                    "values": {"type": "integer", "between": [0, MAX_COUNT]},
                }
            },
            {"paths": {**_TEXTS, "len_max": MAX_PATHS}},
            {"methods": {**_TEXTS, "len_max": 16}},
            {"policy": {"type": "string", "one_of": ["local-first", "strict"], "default": "local-first"}},
            {"dry_run": {"type": "boolean", "default": False}},
        ],
    },
}
"""Kong schema of the field."""


@dataclass(frozen=True, slots=True)
class Limit:
    """One limit. emission and burst_ns are nanoseconds (state/gcra.py), burst is requests.

    policy is its member of RateLimit-Policy: the burst, and the seconds in which it comes back; label begins its
    member of RateLimit. only: the part of its key when there is one alone, and one of ip, user and route; begin is
    then what the key begins with. is_plain: every request counts, and the same.
    """

    name: str
    parts: tuple[str, ...]
    emission: int
    burst: int
    burst_ns: int
    cost: int = 1
    costs: Mapping[str, int] = field(default_factory=dict)
    paths: tuple[str, ...] = ()
    methods: frozenset[str] = frozenset()
    is_strict: bool = False
    dry_run: bool = False
    policy: str = ""
    label: str = ""
    only: str = ""
    begin: str = ""
    is_plain: bool = False

    @property
    def is_identified(self) -> bool:
        """Whether it counts verified users or tokens, and so is decided after passport."""
        return not IDENTIFIED.isdisjoint(self.parts)


def parse(raw: Mapping[str, Any]) -> tuple[Limit, ...]:
    """The limits of a config record. Raises ValueError naming the field."""
    found = tuple(_limit(item, f"limits[{n}]") for n, item in enumerate(records(raw, "limits", MAX_LIMITS)))
    names = [limit.name for limit in found]
    for number, name in enumerate(names):
        if name in names[:number]:
            raise ValueError(f"limits[{number}].name: {name!r} is there twice")
    return found


def records(raw: Mapping[str, Any], name: str, most: int) -> list[Mapping[str, Any]]:
    """A list of records, empty by default. Raises ValueError naming the element."""
    value = raw.get(name)
    if value is None or value == {}:
        return []
    if not isinstance(value, (list, tuple)):
        raise ValueError(f"{name}: expected a list")
    if len(value) > most:
        raise ValueError(f"{name}: {len(value)} entries, {most} are allowed")
    for number, item in enumerate(value):
        if not isinstance(item, Mapping):
            raise ValueError(f"{name}[{number}]: expected a map")
    return list(value)


def name_of(raw: Mapping[str, Any]) -> str:
    """The field `name`. Raises ValueError."""
    name = fields.text(raw, "name")
    if not _NAME.fullmatch(name):
        raise ValueError(f"name: {name!r} is not 1 to 64 letters, digits, '.', '_' or '-'")
    return name


def paths_of(raw: Mapping[str, Any], name: str = "paths") -> tuple[str, ...]:
    """Path prefixes. Raises ValueError for one that no normalised path can begin with."""
    found = fields.texts(raw, name)
    for number, path in enumerate(found):
        what = f"{name}[{number}]: {path!r} is not the beginning of a normalised path"
        if not path.startswith("/") or _NOT_NORMAL.search(path):
            raise ValueError(f"{what}: it starts with one '/', without '//', '/./', '/../' and '?'")
        _check_escapes(path, what)
    return found


def path_parts_of(raw: Mapping[str, Any]) -> tuple[str, ...]:
    """Parts of paths, as they stand in normalised ones. Raises ValueError."""
    found = filled(raw, "path_parts")
    for number, part in enumerate(found):
        what = f"path_parts[{number}]: {part!r} is not a part of a normalised path"
        if _NOT_NORMAL.search(part):
            raise ValueError(f"{what}: it is without '//', '/./', '/../' and '?'")
        _check_escapes(part, what)
    return found


def filled(raw: Mapping[str, Any], name: str) -> tuple[str, ...]:
    """A list of texts none of which is empty: that would be in every text. Raises ValueError naming the element."""
    found = fields.texts(raw, name)
    for number, text in enumerate(found):
        if not text.strip():
            raise ValueError(f"{name}[{number}]: empty")
    return found


def _check_escapes(path: str, what: str) -> None:
    for escape in _ESCAPE.findall(path):
        if (normal := _normal(escape)) != escape:
            raise ValueError(f"{what}: {escape} stands there as {normal!r}")


def _normal(escape: str) -> str:
    character = chr(int(escape[1:], 16))
    return escape.upper() if character in _RESERVED else character


def methods_of(raw: Mapping[str, Any]) -> frozenset[str]:
    """Methods in capitals. Raises ValueError."""
    found = fields.texts(raw, "methods")
    for number, method in enumerate(found):
        if not _METHOD.fullmatch(method):
            raise ValueError(f"methods[{number}]: {method!r} is not a method in capitals")
    return frozenset(found)


def whole(raw: Mapping[str, Any], name: str, low: int, high: int, default: int) -> int:
    """A whole number within low..high. Raises ValueError naming the field."""
    value = fields.number(raw, name, low, high, default)
    if value != int(value):
        raise ValueError(f"{name}: expected a whole number, not {value:g}")
    return int(value)


def _limit(raw: Mapping[str, Any], place: str) -> Limit:
    try:
        name = name_of(raw)
        parts = tuple(dict.fromkeys(fields.texts(raw, "key")))
        if not parts:
            raise ValueError("key: at least one of " + ", ".join(KEYS) + " or header:NAME")
        for part in parts:
            if part not in KEYS and not _HEADER.fullmatch(part):
                raise ValueError(f"key: {part!r} is not one of {', '.join(KEYS)} or header:NAME")
        if raw.get("rate") is None:
            raise ValueError("rate: the field is required")
        rate = fields.number(raw, "rate", 1e-6, MAX_COUNT, 1)
        per = fields.number(raw, "per", 1e-3, DAY, 1)
        burst = whole(raw, "burst", 1, MAX_COUNT, max(1, int(rate)))
        cost = whole(raw, "cost", 0, MAX_COUNT, 1)
        costs = _costs(raw.get("costs"))
        for what, value in (("cost", cost), *((f"costs.{route}", one) for route, one in costs.items())):
            if value > burst:
                raise ValueError(f"{what}: {value} is more than the burst of {burst}: never admitted")
        emission = round(per * 1e9 / rate)
        if not 0 < emission * burst <= 366 * DAY * 1e9:
            raise ValueError("burst: it comes back in more than a year, or at once")
        return Limit(
            name=name,
            parts=tuple(part.lower() for part in parts),
            emission=emission,
            burst=burst,
            burst_ns=burst * emission,
            cost=cost,
            costs=costs,
            paths=paths_of(raw),
            methods=methods_of(raw),
            is_strict=fields.choice(raw, "policy", ("local-first", "strict"), "local-first") == "strict",
            dry_run=fields.flag(raw, "dry_run", False),
            label=f'"{name}";r=',
            only=parts[0] if parts in (("ip",), ("user",), ("route",)) else "",
            begin=f"{name} {parts[0]}=",
            is_plain=cost > 0 and not (costs or raw.get("paths") or raw.get("methods")),
            policy=f'"{name}";q={burst};w={max(1, ceil(burst * emission / 1e9))}',
        )
    except ValueError as error:
        raise ValueError(f"{place}.{error}") from error


def _costs(raw: Any) -> dict[str, int]:
    if raw is None or raw == []:
        return {}
    if not isinstance(raw, Mapping):
        raise ValueError("costs: expected a map from route names to numbers")
    return {str(route): whole(raw, route, 0, MAX_COUNT, 1) for route in raw}
