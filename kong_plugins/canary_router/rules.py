"""Rules: who gets which target. All conditions of a rule must hold; the first rule that holds decides.

users, users_list    a verified user is one of these (either way of naming them)
cidrs                the address is in one of these networks
claim, values        the verified token has the claim, with one of the values (none named: any). A claim that is a
                     list holds when one of its elements does; NAME.NAME goes into objects
header, cookie       the request has it, with one of the values. Only with `clients_may_choose: true`
from, until          ISO 8601 moments; hours: "22:00-06:00" of each day, UTC
percent              share of the users; of those without a verified identity with a device cookie only

upstream, deny, control      the target: a Kong upstream (without one: the canary's), an answer 404 or 403, or the
                             route's own service
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kong_plugins.canary_router.bucket import bucket, threshold
from kong_plugins.engine import fields
from kong_plugins.engine.facts import Facts, Identity
from kong_plugins.state.addresses import AddressIndex, network_set, parse_address
from kong_plugins.state.base import Snapshot
from kong_plugins.state.ramps import moment

TEXTS: dict[str, Any] = {"type": "array", "elements": {"type": "string"}}
DENIALS = (403, 404)
MAX_RULES = 64

FIELDS: list[dict[str, Any]] = [
    {"name": {"type": "string"}},
    {"users": {**TEXTS, "len_max": fields.MAX_INLINE}},
    {"users_list": {"type": "string"}},
    {"cidrs": TEXTS},
    {"claim": {"type": "string"}},
    {"header": {"type": "string"}},
    {"cookie": {"type": "string"}},
    {"values": TEXTS},
    {"clients_may_choose": {"type": "boolean", "default": False}},
    {"from": {"type": "string"}},
    {"until": {"type": "string"}},
    {"hours": {"type": "string"}},
    {"percent": {"type": "number", "between": [0, 100]}},
    {"upstream": {"type": "string"}},
    {"deny": {"type": "integer", "between": [400, 499]}},
    {"control": {"type": "boolean", "default": False}},
]
"""Kong schema fields of a rule."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,31}")
_HEADER = re.compile(r"[A-Za-z0-9-]{1,64}")
_COOKIE = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}")
_HOURS = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])-([01][0-9]|2[0-3]|24):([0-5][0-9])", re.ASCII)
_DAY = 86_400
_ORDER = ("user", "cidr", "claim", "header", "cookie", "percent", "time")
"""The reason of a rule with several conditions names the first of these."""


@dataclass(frozen=True, slots=True)
class Rule:
    """name: of the arm, and for people. kind: of the reason (canary_KIND). begin, end: Unix seconds; hours:
    seconds of the day, UTC. limit: buckets, None for no condition. deny: status or 0."""

    name: str
    kind: str
    users: frozenset[str] = frozenset()
    users_list: str = ""
    cidrs: AddressIndex[bool] | None = None
    claim: str = ""
    header: str = ""
    cookie: str = ""
    values: frozenset[str] = frozenset()
    begin: float | None = None
    end: float | None = None
    hours: tuple[int, int] | None = None
    limit: int | None = None
    upstream: str = ""
    deny: int = 0
    control: bool = False

    def holds(self, facts: Facts, snapshot: Snapshot, now: float, key: bytes, device: str) -> bool:
        """Whether all conditions hold. now is Unix time; key is of the canary's hash; device "" for none."""
        who = facts.identity
        if (self.users or self.users_list) and not has_user(self.users, self.users_list, who, snapshot, now):
            return False
        if self.cidrs is not None and not is_inside(facts.ip, self.cidrs):
            return False
        if self.claim and not (who is not None and _claimed(who.claims, self.claim, self.values)):
            return False
        if self.header and not self._chosen(facts.headers.get(self.header), self.header, facts):
            return False
        if self.cookie and not self._chosen(_cookie(facts, self.cookie), "cookie", facts):
            return False
        if self.begin is not None and now < self.begin:
            return False
        if self.end is not None and now >= self.end:
            return False
        if self.hours is not None and not _within(self.hours, now % _DAY):
            return False
        return self.limit is None or is_drawn(who, device, key, self.limit)

    def _chosen(self, value: str | None, header: str, facts: Facts) -> bool:
        if value is None or header in facts.truncated:
            return False
        return not self.values or value.strip(" \t") in self.values


def has_user(users: frozenset[str], named: str, who: Identity | None, snapshot: Snapshot, now: float) -> bool:
    """Whether a verified user is pinned, by name or by the named list."""
    if who is None:
        return False
    if users and (who.subject in users or who.key in users):
        return True
    found = snapshot.lists.get(named) if named else None
    return found is not None and found.has_user(who.issuer, who.subject, now)


def is_inside(ip: str, networks: AddressIndex[bool]) -> bool:
    """Whether the address can be read and is in one of the networks."""
    try:
        return parse_address(ip) in networks
    except ValueError:
        return False


def is_drawn(who: Identity | None, device: str, key: bytes, limit: int) -> bool:
    """Whether the user's (else the device's) bucket is below `limit`."""
    if who is not None:
        return bucket(key, who.key) < limit
    # no issuer has a NUL in its name: a device is never taken for a user
    return bool(device) and bucket(key, f"\0device|{device}") < limit


def parse_rules(raw: Mapping[str, Any]) -> tuple[Rule, ...]:
    """The config's `rules`. Raises ValueError naming the field."""
    value = raw.get("rules")
    if value is None or value == {}:
        return ()
    if not isinstance(value, (list, tuple)) or len(value) > MAX_RULES:
        raise ValueError(f"rules: expected a list of at most {MAX_RULES}")
    found = []
    for number, one in enumerate(value):
        try:
            if not isinstance(one, Mapping):
                raise ValueError("expected a map")
            found.append(_rule(one, f"rule-{number + 1}"))
        except ValueError as error:
            raise ValueError(f"rules[{number}]: {error}") from error
    names = [rule.name for rule in found]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f"rules: two are named {twice!r}")
    return tuple(found)


def _rule(raw: Mapping[str, Any], usual: str) -> Rule:
    unknown = next((field for field in raw if field not in _KNOWN), None)
    if unknown is not None:
        raise ValueError(f"{unknown}: unknown field")
    name = fields.text(raw, "name", usual) or usual
    if not _NAME.fullmatch(name) or name in ("canary", "control"):
        raise ValueError(f"name: {name!r} is not 1 to 32 letters, digits, '.', '_' or '-', or is an arm's")
    users, named = frozenset(fields.inline(raw, "users", "users_list")), fields.text(raw, "users_list", "")
    if named:
        fields.list_names({"users_list": [named]}, "users_list")
    networks = network_set(fields.texts(raw, "cidrs"), "cidrs")
    claim = fields.text(raw, "claim", "")
    header, cookie = _match(raw, "header", _HEADER).lower(), _match(raw, "cookie", _COOKIE)
    values = frozenset(fields.texts(raw, "values"))
    if (header or cookie) and not fields.flag(raw, "clients_may_choose", False):
        field = "header" if header else "cookie"
        raise ValueError(f"{field}: is what the client says; that needs clients_may_choose: true")
    if values and sum(map(bool, (claim, header, cookie))) != 1:
        raise ValueError("values: are of exactly one of claim, header and cookie")
    begin, end = (None if raw.get(f) is None else moment(raw[f], f) for f in ("from", "until"))
    if begin is not None and end is not None and begin >= end:
        raise ValueError("until: is not after from")
    hours = _hours(fields.text(raw, "hours", ""))
    limit = None if raw.get("percent") is None else threshold(fields.number(raw, "percent", 0, 100, 0))
    upstream, deny = fields.text(raw, "upstream", ""), int(fields.number(raw, "deny", 400, 499, 0))
    control = fields.flag(raw, "control", False)
    if deny and deny not in DENIALS:
        raise ValueError(f"deny: {deny} is not 404 or 403")
    if sum(map(bool, (upstream, deny, control))) > 1:
        raise ValueError("deny: a rule has one target: upstream, deny or control")
    given = (users or named, len(networks), claim, header, cookie, limit is not None, begin or end or hours)
    kind = next((word for word, here in zip(_ORDER, given, strict=True) if here), "all")
    indexed = networks if len(networks) else None
    return Rule(
        name, kind, users, named, indexed, claim, header, cookie, values,
        begin, end, hours, limit, upstream, deny, control,
    )  # fmt: skip


_KNOWN = frozenset(name for field in FIELDS for name in field)


def _match(raw: Mapping[str, Any], field: str, pattern: re.Pattern[str]) -> str:
    name = fields.text(raw, field, "")
    if name and not pattern.fullmatch(name):
        raise ValueError(f"{field}: {name!r} is no name of a {field}")
    return name


def _hours(text: str) -> tuple[int, int] | None:
    if not text:
        return None
    found = _HOURS.fullmatch(text)
    begin, end = (
        ((int(found[1]) * 60 + int(found[2])) * 60, (int(found[3]) * 60 + int(found[4])) * 60)
        if found
        else (0, 0)
    )
    if begin == end or end > _DAY:
        raise ValueError(f"hours: {text!r} is not like 22:00-06:00")
    return begin, end


def _within(hours: tuple[int, int], second: float) -> bool:
    begin, end = hours
    return begin <= second < end if begin < end else second >= begin or second < end


def _cookie(facts: Facts, name: str) -> str | None:
    """The cookie's value; None when there is none or more than one."""
    found = None
    for pair in facts.headers.get("cookie", "").split(";"):
        key, separator, text = pair.partition("=")
        if separator and key.strip(" \t") == name:
            if found is not None:
                return None
            found = text
    return found


def _claimed(claims: Mapping[str, Any], name: str, values: frozenset[str]) -> bool:
    value = claims.get(name)
    if value is None and "." in name:
        value = claims
        for part in name.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
    if value is None:
        return False
    if not values:
        return value is not False and value != []
    held = value if isinstance(value, list) else [value]
    return any(_text(one) in values for one in held)


def _text(value: Any) -> str | None:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, (int, float)) else None
