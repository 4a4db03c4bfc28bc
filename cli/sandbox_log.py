"""The sandbox's request log: one line a request, from the record that Kong's log plugins get."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

_ABUSE_GUARD = (
    "ip_",
    "user_",
    "token_blocked",
    "agent_",
    "path_",
    "rate_",
    "limit",
    "burst",
    "score_",
    "scenario_",
)
"""How abuse-guard's reason ids start; other refusals are passport's."""
_ADAPTER = frozenset(
    {"server_away", "no_verdict", "breaker_open", "adapter_error", "unreadable", "bad_config"}
)


class Line(NamedTuple):
    """What is shown of one request. ms: whole time; upstream: what was tried, with nginx's statuses."""

    node: int
    method: str
    path: str
    status: int
    ms: int
    route: str
    upstream: str
    verdict: str
    reason: str
    plugin: str
    arm: str
    tenant: str

    def as_json(self) -> dict[str, Any]:
        """The line for `--output json`; what is unknown is ""."""
        return {"event": "request", **self._asdict()}

    def as_text(self) -> str:
        """The line for people."""
        parts = [
            f"{self.method} {self.path} -> {self.status}",
            self.upstream or "no upstream",
            f"{self.ms} ms",
        ]
        decision = " ".join(part for part in (self.verdict, self.reason) if part)
        if decision:
            parts.append(f"{decision} by {self.plugin}" if self.plugin else decision)
        parts += [f"{name} {value}" for name, value in (("arm", self.arm), ("tenant", self.tenant)) if value]
        prefix = f"[{self.node}] " if self.node else ""
        return prefix + "  ".join(parts)


def line(record: Mapping[str, Any], node: int = 0) -> Line:
    """A log record as a line. node: its number from 1 when there are several, else 0."""
    ours = record.get("kgate") or {}
    reason = str(ours.get("reason") or "")
    uri = str(record["request"]["uri"])
    tries = [f"{t['ip']}:{t['port']}" for t in record.get("tries") or ()]
    statuses = str(record.get("upstream_status") or "")
    return Line(
        node=node,
        method=str(record["request"]["method"]),
        path=_printable(uri.partition("?")[0]),
        status=int(record["response"]["status"]),
        ms=int(record["latencies"]["request"]),
        route=str((record.get("route") or {}).get("name") or ""),
        upstream=f"{tries[-1]} ({statuses})" if tries else "",
        verdict=str(ours.get("verdict") or ""),
        reason=reason,
        plugin=_plugin(ours, reason),
        arm=str(ours.get("arm") or ""),
        tenant=str(ours.get("tenant") or ""),
    )


def _plugin(ours: Mapping[str, Any], reason: str) -> str:
    """Whose decision it was: the log record names the reason only."""
    verdict = ours.get("verdict")
    if verdict == "fallback":
        return "static-fallback"
    if verdict in ("fail", "degraded") or reason in _ADAPTER:
        return "kgate"
    if verdict == "exit" and reason:
        return "abuse-guard" if reason.startswith(_ABUSE_GUARD) else "passport"
    return "canary-router" if ours.get("arm") else ""


def _printable(text: str) -> str:
    # what a client sends must not steer the terminal
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)
