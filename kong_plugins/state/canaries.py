"""Canary overrides as records: key NAME, data {percent, users, users_list, paused, aborted, ramp}."""

from __future__ import annotations

import re

from kong_plugins.state.base import CanaryOverride
from kong_plugins.state.ramps import check_ramp
from kong_plugins.state.records import Record

MAX_USERS = 500
"""Pinned users of an override; more of them are a named list."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def check_canary_name(name: str) -> str:
    """The name itself. Raises ValueError when it is no canary's name (as the plugin's config has it)."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"name: {name!r} is not 1 to 64 letters, digits, '.', '_' or '-'")
    return name


def override_record(override: CanaryOverride) -> Record:
    """The record that sets the override. The store gives its times and version."""
    return Record(
        "canaries",
        override.name,
        {
            "percent": override.percent,
            "users": None if override.users is None else sorted(override.users),
            "users_list": override.users_list,
            "paused": override.paused,
            "aborted": override.aborted,
            "ramp": None if override.ramp is None else dict(override.ramp),
        },
        actor=override.actor,
        reason=override.reason,
        expires=override.expires,
    )


def override_of(record: Record) -> CanaryOverride:
    """The override of a record of `canaries`. Raises ValueError naming it."""
    data = record.data
    try:
        percent, users, users_list = data["percent"], data["users"], data.get("users_list")
        return CanaryOverride(
            record.key,
            None if percent is None else float(percent),
            None if users is None else frozenset(str(user) for user in users),
            bool(data["paused"]),
            record.version,
            record.actor,
            record.changed,
            None if users_list is None else str(users_list),
            bool(data.get("aborted", False)),
            check_ramp(data.get("ramp")),
            record.reason,
            record.expires,
        )
    except (KeyError, TypeError, ValueError) as error:
        cause = f"no field {error}" if isinstance(error, KeyError) else str(error)
        raise ValueError(f"canary {record.key!r}: {cause}") from error
