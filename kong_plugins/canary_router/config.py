"""canary-router's config: one canary of one service.

name           the canary's name, as in `kgate canary set NAME`; also its key for the hash
upstream       Kong upstream of the canary's backend; needed unless every rule names its own target
paused         the kill switch of the plan: every user to the control group (false)
users          pinned users: a subject, or "issuer|subject"
users_list     name of a list of users (`kgate list import`) that are pinned too; one that does not exist is empty
cidrs          addresses and networks that always see the canary (an office)
rules          more rules, in order, after users and cidrs (rules.py)
percent        0..100, share of the verified users that sees the canary
ramp           in place of percent: {from: 1, to: 50, start: 2030-01-31T18:00Z, over: 2h, hold: ["10%:30m"]}
device_cookie  name of a cookie by which those without a verified identity are told apart (none: they are control)
abort_if       when the gateway gives the canary up by itself (abort.py)
salt           key of the hash in place of the name: canaries with the same salt pick the same users
fail           closed | open: what happens when there is no verdict, default closed
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from kong_plugins.canary_router import abort, rules
from kong_plugins.canary_router.bucket import hash_key, threshold
from kong_plugins.engine import fields
from kong_plugins.engine.lasting import lasting
from kong_plugins.engine.verdict import Verdict
from kong_plugins.state.addresses import AddressIndex, network_set
from kong_plugins.state.ramps import Ramp, duration, make_points, moment

_TEXTS: dict[str, Any] = {**rules.TEXTS, "default": [], "required": True}

_RAMP: list[dict[str, Any]] = [
    {"from": {"type": "number", "between": [0, 100]}},
    {"to": {"type": "number", "between": [0, 100], "required": True}},
    {"start": {"type": "string", "required": True}},
    {"over": {"type": "string", "required": True}},
    {"hold": rules.TEXTS},
]

SCHEMA: list[dict[str, Any]] = [
    fields.FAIL,
    {"name": {"type": "string", "required": True}},
    {"upstream": {"type": "string"}},
    {"paused": {"type": "boolean", "default": False}},
    {"users": {**_TEXTS, "len_max": fields.MAX_INLINE}},
    {"users_list": {"type": "string"}},
    {"cidrs": _TEXTS},
    {"rules": {"type": "array", "elements": {"type": "record", "fields": rules.FIELDS}}},
    {"percent": {"type": "number", "between": [0, 100], "default": 0, "required": True}},
    # required must be said: without a word Kong makes the record by itself, on every canary
    {"ramp": {"type": "record", "required": False, "fields": _RAMP}},
    {"device_cookie": {"type": "string"}},
    {"abort_if": {"type": "record", "required": False, "fields": abort.FIELDS}},
    {"salt": {"type": "string"}},
]
"""Kong schema fields of the plugin's config."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
"""A canary's name: it stands in a header, in logs and in a Redis key."""
_COOKIE = re.compile(r"[A-Za-z0-9_-]{1,64}")

DRAWN = "drawn"
"""Word of the memo, with the limits' tag, of requests that the percent was asked for, in both arms: these can be
compared, because only the dice tell their users apart."""
PINNED = "c"
"""Word of the canary's other requests."""


def check_name(name: str) -> str:
    """The name itself. Raises ValueError when it is not a canary's name."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"name: {name!r} is not 1 to 64 letters, digits, '.', '_' or '-'")
    return name


@dataclass(frozen=True, slots=True)
class Config:
    """The verdicts are ready: nothing in them depends on the request. `by_rule` has those of `rules`, by name; a
    denial is made for each request. control_verdicts are by reason, `drawn_*` those that the percent decided."""

    fail: str
    name: str
    upstream: str
    users: frozenset[str]
    cidrs: AddressIndex[bool]
    threshold: int
    key: bytes
    canary_verdicts: Mapping[str, Verdict]
    control_verdicts: Mapping[str, Verdict]
    drawn_canary: Verdict
    drawn_control: Verdict
    by_rule: Mapping[str, Verdict]
    users_list: str = ""
    paused: bool = False
    rules: tuple[rules.Rule, ...] = ()
    ramp: Ramp | None = None
    device_cookie: str = ""
    abort_if: abort.AbortIf | None = None
    limits_tag: str = ""
    """Names `abort_if` in memos: the analysis learns from them which of several configs is in use."""
    percent_alone: bool = False
    """There is nothing but a percent to look at."""
    denies: bool = False

    @property
    def list_names(self) -> tuple[str, ...]:
        """All lists named."""
        named = (self.users_list, *(rule.users_list for rule in self.rules))
        return tuple(dict.fromkeys(name for name in named if name))


def parse(raw: Mapping[str, Any]) -> Config:
    """Parse Kong's config record. Raises ValueError naming the field."""
    name = check_name(fields.text(raw, "name"))
    found = rules.parse_rules(raw)
    users = frozenset(fields.inline(raw, "users", "users_list"))
    cidrs = network_set(fields.texts(raw, "cidrs"), "cidrs")
    named, ramp = fields.text(raw, "users_list", ""), _ramp(raw)
    if named:
        fields.list_names({"users_list": [named]}, "users_list")
    limit = threshold(fields.number(raw, "percent", 0, 100, 0))
    if ramp is not None and limit:
        raise ValueError("ramp: give it or percent, not both")
    own = bool(found) and all(rule.upstream or rule.deny or rule.control for rule in found)
    needed = not own or bool(users or named or len(cidrs) or limit or ramp)
    upstream = fields.text(raw, "upstream", None if needed else "")
    cookie = fields.text(raw, "device_cookie", "")
    if cookie and not _COOKIE.fullmatch(cookie):
        raise ValueError(f"device_cookie: {cookie!r} is not 1 to 64 letters, digits, '_' or '-'")
    canary, control = f"{name}=canary", f"{name}=control"
    limits = abort.parse(raw.get("abort_if"))
    tag = blake2b(repr(limits).encode(), digest_size=3).hexdigest()
    drawn, pinned = f"{DRAWN}={tag}", f"{PINNED}={tag}"

    def verdict(arm: str, to: str, reason: str, memo: str = "") -> Verdict:
        found = Verdict(upstream=to, service_headers=(("X-Canary", arm),), reason=reason, arm=arm, memo=memo)
        return lasting(found)

    by_rule = {}
    for rule in found:
        to, reason = rule.upstream or upstream, f"canary_{rule.kind}"
        # what goes somewhere else is an arm of its own: its errors are not the canary's
        arm = control if rule.control else canary if to == upstream else f"{name}={rule.name}"
        by_rule[rule.name] = verdict(arm, "" if rule.control else to, reason, pinned if arm == canary else "")
    paused = fields.flag(raw, "paused", False)
    return Config(
        fail=fields.fail_policy(raw),
        name=name,
        upstream=upstream,
        users=users,
        cidrs=cidrs,
        threshold=limit,
        key=hash_key(fields.text(raw, "salt", "") or name),
        canary_verdicts={
            reason: verdict(canary, upstream, reason, pinned) for reason in ("canary_user", "canary_cidr")
        },
        control_verdicts={
            reason: verdict(control, "", reason)
            for reason in ("", "canary_paused", "canary_aborted", "canary_away")
        },
        drawn_canary=verdict(canary, upstream, "canary_percent", drawn),
        drawn_control=verdict(control, "", "", drawn),
        by_rule=by_rule,
        users_list=named,
        paused=paused,
        rules=found,
        ramp=ramp,
        device_cookie=cookie,
        abort_if=limits,
        limits_tag=tag,
        percent_alone=not (users or named or len(cidrs) or found or ramp or cookie or paused),
        denies=any(rule.deny for rule in found),
    )


def upstreams(raw: Mapping[str, Any]) -> dict[tuple[str | int, ...], str]:
    """The upstreams that a config names, by where in it."""
    found: dict[tuple[str | int, ...], str] = {}
    if isinstance(raw.get("upstream"), str):
        found[("upstream",)] = raw["upstream"]
    listed = raw.get("rules")
    for number, rule in enumerate(listed if isinstance(listed, (list, tuple)) else ()):
        if isinstance(rule, Mapping) and isinstance(rule.get("upstream"), str):
            found[("rules", number, "upstream")] = rule["upstream"]
    return found


def header_names(raw: Mapping[str, Any]) -> set[str]:
    """The request headers that a config's rules look at, in lower case: the adapter must send them."""
    listed = raw.get("rules")
    every = listed if isinstance(listed, (list, tuple)) else ()
    named = (rule.get("header") for rule in every if isinstance(rule, Mapping))
    return {name.lower() for name in named if isinstance(name, str) and name}


def _ramp(raw: Mapping[str, Any]) -> Ramp | None:
    value = raw.get("ramp")
    if value is None or value == [] or value == {}:
        return None
    if not isinstance(value, Mapping):
        raise ValueError("ramp: expected a map")
    unknown = next((field for field in value if field not in ("from", "to", "start", "over", "hold")), None)
    if unknown is not None:
        raise ValueError(f"ramp: {unknown}: unknown field")
    if value.get("to") is None:
        raise ValueError("ramp: to: expected a number")
    try:
        low, high = (fields.number(value, field, 0, 100, 0) for field in ("from", "to"))
        over = duration(value.get("over"), "over")
        points = make_points(low, high, over, fields.texts(value, "hold"))
        return Ramp(moment(value.get("start")), tuple(map(tuple, points)))
    except ValueError as error:
        raise ValueError(f"ramp: {error}") from error
