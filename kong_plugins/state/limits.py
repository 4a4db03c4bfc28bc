"""Resets of limits as records: key is the limit's key, whose limits ("user ISS|SUB", "ip V"), or "*" for all;
data {reset}.

A limit's key is its name and what it counts by: "per-user user=https://auth.example|kim route=cart".
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from kong_plugins.state.addresses import address_number, number_address
from kong_plugins.state.records import Record

ALL = "*"
_WHOSE = re.compile(r"(ip|user|token)[ :=](\S.*)")


def part_of(key: str) -> str:
    """The part of the limits' keys that names the same client: "ip=V", "user=ISS|SUB" or "user=SUB" (of any issuer)
    or "token=...", for "ip V", "user:V", an address alone and so on. "" for a limit's own key and "*"."""
    found = _WHOSE.fullmatch(key)
    kind, value = found.groups() if found else ("ip", key)
    if kind == "ip":
        try:
            version, number = address_number(value.removesuffix("/64"))
        except ValueError:
            return ""
        # IPv6 is counted by /64
        value = number_address(4, number) if version == 4 else f"{number_address(6, number >> 64 << 64)}/64"
    return f"{kind}={value}"


def of_client(part: str, keys: Iterable[str]) -> list[str]:
    """Those keys of limits that count for the client of a part."""
    kind, _, value = part.partition("=")
    return [
        key
        for key in keys
        for each in key.split(" ")[1:]
        if each == part or (kind != "ip" and each.startswith(f"{kind}=") and each.endswith(f"|{value}"))
    ]


class LimitReset(NamedTuple):
    """What was counted for `key` before `reset` (Unix seconds by the store's clock) is forgotten once. changed: when
    the store took it."""

    key: str
    reset: float
    reason: str
    actor: str
    expires: float | None = None
    source: str = ""
    version: int = 0
    changed: float = 0.0


def reset_record(reset: LimitReset) -> Record:
    """The record that sets it. The store gives its version."""
    return Record(
        "limits",
        reset.key,
        {"reset": reset.reset},
        actor=reset.actor,
        reason=reset.reason,
        source=reset.source,
        expires=reset.expires,
    )


def reset_of(record: Record) -> LimitReset:
    """The reset of a record of `limits`. Raises ValueError naming it."""
    try:
        reset = float(record.data["reset"])
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"limit {record.key!r}: no number in `reset`") from error
    return LimitReset(
        record.key,
        reset,
        record.reason,
        record.actor,
        record.expires,
        record.source,
        record.version,
        record.changed,
    )


class Limited(NamedTuple):
    """A key whose limit refused requests in the last minute. refused: how many, over all nodes; wait: seconds until
    the next one is admitted, on the node that waits longest. capacity requests at once, then one each `seconds`."""

    key: str
    refused: int
    nodes: int
    wait: float
    capacity: int
    seconds: float
