"""Access logs as requests for `bench.abuse_replay`: the combined format, or Kong's own JSON (file-log, http-log)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from bench.abuse_traffic import Request
from decl.paths import BadPath, normalise
from kong_plugins.state.addresses import parse_address

_QUOTED = r'"(?:[^"\\]|\\.)*"'
_COMBINED = re.compile(
    r'(?P<ip>\S+) \S+ (?P<user>.*?) \[(?P<time>[^\]]+)\] "(?P<method>[A-Z]+) (?P<path>\S+)(?:[^"\\]|\\.)*" '
    rf"(?P<status>\d{{3}}) \S+(?: {_QUOTED} (?P<agent>{_QUOTED}))?"
)
_YEAR_3000 = 32_503_680_000
_ORIGIN = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^/?]*")


def read(lines: Iterable[str]) -> tuple[list[Request], int]:
    """The requests in the order of time, from second 0 on, and how many lines could not be read."""
    found: list[Request] = []
    bad = 0
    for line in lines:
        text = line.strip()
        if not text:
            continue
        try:
            request = _json(json.loads(text)) if text.startswith("{") else _combined(text)
            if not 0 <= request.time < _YEAR_3000:  # JSON's 1e999 is no time either
                raise ValueError("no time")
            parse_address(request.ip)
            found.append(request)
        except (AttributeError, KeyError, TypeError, ValueError, OverflowError, RecursionError, BadPath):
            bad += 1
    found.sort(key=lambda request: request.time)
    first = found[0].time if found else 0.0
    return [request._replace(time=request.time - first) for request in found], bad


def _path(raw: str) -> str:
    raw = _ORIGIN.sub("", raw, count=1) if not raw.startswith("/") else raw
    return normalise(raw.partition("?")[0].encode("utf-8", "surrogateescape").decode("latin-1"))


def _combined(text: str) -> Request:
    found = _COMBINED.match(text)
    if found is None:
        raise ValueError("not the combined format")
    time = datetime.strptime(found["time"], "%d/%b/%Y:%H:%M:%S %z").timestamp()
    user = "" if found["user"] == "-" else found["user"]
    agent = (found["agent"] or "")[1:-1].replace('\\"', '"')
    return Request(
        time, found["ip"], found["method"], _path(found["path"]), int(found["status"]),
        "" if agent == "-" else agent, user,
    )  # fmt: skip


def _json(row: dict[str, Any]) -> Request:
    request = row["request"]
    sent = request.get("headers", {}).get("user-agent", "")
    agent = (
        ", ".join(map(str, sent)) if isinstance(sent, list) else str(sent)
    )  # Kong: a list of repeated ones
    # a consumer that stands for everybody whom Kong does not know is nobody
    is_guest = "x-anonymous-consumer" in request.get("headers", {})
    consumer = {} if is_guest else row.get("consumer") or row.get("authenticated_entity") or {}
    return Request(
        float(row["started_at"]) / 1000, str(row["client_ip"]), str(request["method"]), _path(request["uri"]),
        int(row["response"]["status"]), agent, str(consumer.get("id", "")),
    )  # fmt: skip
