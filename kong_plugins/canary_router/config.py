"""canary-router's config: one canary of one service.

name      the canary's name, as in `kgate canary set NAME`; also its key for the hash
upstream  Kong upstream of the canary's backend
users     pinned users: a subject, or "issuer|subject"
users_list  name of a list of users (`kgate list import`) that are pinned too; one that does not exist is empty
cidrs     addresses and networks that always see the canary (an office)
percent   0..100, share of the verified users that sees the canary
salt      key of the hash in place of the name: canaries with the same salt pick the same users
fail      closed | open: what happens when there is no verdict, default closed
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kong_plugins.canary_router.bucket import hash_key, threshold
from kong_plugins.engine import fields
from kong_plugins.engine.verdict import Verdict
from kong_plugins.state.addresses import AddressIndex, network_set

_TEXTS: dict[str, Any] = {
    "type": "array",
    "elements": {"type": "string"},
    "default": [],
    "required": True,
}

SCHEMA: list[dict[str, Any]] = [
    fields.FAIL,
    {"name": {"type": "string", "required": True}},
    {"upstream": {"type": "string", "required": True}},
    {"users": _TEXTS},
    {"users_list": {"type": "string"}},
    {"cidrs": _TEXTS},
    {"percent": {"type": "number", "between": [0, 100], "default": 0, "required": True}},
    {"salt": {"type": "string"}},
]
"""Kong schema fields of the plugin's config."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
"""A canary's name: it stands in a header, in logs and in a Redis key."""


def check_name(name: str) -> str:
    """The name itself. Raises ValueError when it is not a canary's name."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"name: {name!r} is not 1 to 64 letters, digits, '.', '_' or '-'")
    return name


def _list_name(raw: Mapping[str, Any]) -> str:
    name = fields.text(raw, "users_list", "")
    return fields.list_names({"users_list": [name]}, "users_list")[0] if name else ""


@dataclass(frozen=True, slots=True)
class Config:
    """`canary_verdicts` and `control_verdicts` are the ready verdicts by reason: nothing in them depends
    on the request."""

    fail: str
    name: str
    upstream: str
    users: frozenset[str]
    cidrs: AddressIndex[bool]
    threshold: int
    key: bytes
    canary_verdicts: Mapping[str, Verdict]
    control_verdicts: Mapping[str, Verdict]
    users_list: str = ""

    @property
    def list_names(self) -> tuple[str, ...]:
        return (self.users_list,) if self.users_list else ()


def parse(raw: Mapping[str, Any]) -> Config:
    """Parse Kong's config record. Raises ValueError naming the field."""
    name = check_name(fields.text(raw, "name"))
    upstream = fields.text(raw, "upstream")
    canary, control = f"{name}=canary", f"{name}=control"
    return Config(
        fail=fields.fail_policy(raw),
        name=name,
        upstream=upstream,
        users=frozenset(fields.texts(raw, "users")),
        cidrs=network_set(fields.texts(raw, "cidrs"), "cidrs"),
        threshold=threshold(fields.number(raw, "percent", 0, 100, 0)),
        key=hash_key(fields.text(raw, "salt", "") or name),
        canary_verdicts={
            reason: Verdict(
                upstream=upstream, service_headers=(("X-Canary", canary),), reason=reason, arm=canary
            )
            for reason in ("canary_user", "canary_cidr", "canary_percent")
        },
        control_verdicts={
            reason: Verdict(service_headers=(("X-Canary", control),), reason=reason, arm=control)
            for reason in ("", "canary_paused", "canary_aborted")
        },
        users_list=_list_name(raw),
    )
