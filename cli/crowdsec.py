"""CrowdSec's decisions (`cscli decisions list -o json`, or the local API's list) as rows to import.

    [{"decisions": [{"duration": "3h59m2s", "origin": "crowdsec", "scenario": "crowdsecurity/ssh-bf",
                     "scope": "Ip", "type": "ban", "value": "203.0.113.7", "simulated": false}]}]

Taken are bans of scope Ip and Range that last; origin and scenario become the row's reason. Of several
decisions about the same target the one that lasts longest is taken.
"""

from __future__ import annotations

import csv
import io
import ipaddress
import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

_SCOPES = ("ip", "range")
_DURATION = re.compile(r"(-?)((?:[0-9]+(?:\.[0-9]+)?(?:d|h|ms|us|µs|ns|m|s))+)")
_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(d|h|ms|us|µs|ns|m|s)")
_UNITS = {"d": 86_400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
_MAX_REASON = 200


class Decisions(NamedTuple):
    """lines: a CSV that the import reads. skipped: decisions that are no lasting ban of an address."""

    lines: tuple[str, ...]
    skipped: int


def read(text: str, now: float) -> Decisions:
    """The decisions of a JSON text; now is Unix seconds. Raises ValueError for what is no such list."""
    try:
        document = json.loads(text)
    except ValueError as error:
        raise ValueError(f"not the JSON of `cscli decisions list -o json`: {error}") from error
    best: dict[str, tuple[float, str]] = {}
    skipped = 0
    for decision in _decisions(document):
        wanted = str(decision.get("type", "ban")).lower() == "ban" and not decision.get("simulated")
        if not wanted or str(decision.get("scope", "")).lower() not in _SCOPES:
            skipped += 1
            continue
        value = _target(str(decision.get("value", "")))
        try:
            seconds = duration(str(decision.get("duration", "")))
        except ValueError as error:
            raise ValueError(f"{value}: {error}") from error
        if seconds <= 0:
            skipped += 1
            continue
        reason = f"{decision.get('origin') or 'crowdsec'}: {decision.get('scenario') or 'ban'}"
        reason = "".join(c if c.isprintable() else "?" for c in reason)[:_MAX_REASON]
        if value in best and best[value][0] >= now + seconds:
            continue
        best[value] = (now + seconds, reason)
    rows = [_row(["target", "reason", "expires"])]
    rows += [_row([value, reason, repr(end)]) for value, (end, reason) in best.items()]
    return Decisions(tuple(rows), skipped)


def duration(text: str) -> float:
    """Seconds of a duration as Go writes it ("3h59m2.5s", "-2m0s"), with days as CrowdSec takes them ("4d").

    Raises ValueError.
    """
    found = _DURATION.fullmatch(text)
    if found is None:
        raise ValueError(f"duration: {text!r} is not like 3h59m2s")
    seconds = sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(found[2]))
    return -seconds if found[1] else seconds


def _target(value: str) -> str:
    """One spelling of an address or network, without the bits after its prefix, which CrowdSec leaves in."""
    try:
        found = ipaddress.ip_network(value.strip(), strict=False)
    except ValueError:
        return value  # the import tells it, as of any list
    return str(found) if "/" in value else str(found.network_address)


def _decisions(document: Any) -> Iterator[dict[str, Any]]:
    """Of alerts with their decisions, or of a plain list of decisions; null is what cscli prints for none."""
    if document is None:
        return
    if not isinstance(document, list) or not all(isinstance(item, dict) for item in document):
        raise ValueError("not a list of CrowdSec's alerts or decisions")
    for item in document:
        inner = item.get("decisions", [item] if "value" in item else None)
        if inner is None and "decisions" not in item:
            raise ValueError("an entry has neither decisions nor a value")
        for decision in inner or ():
            if not isinstance(decision, dict):
                raise ValueError("a decision is no object")
            yield decision


def _row(cells: list[str]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(cells)
    return line.getvalue()
