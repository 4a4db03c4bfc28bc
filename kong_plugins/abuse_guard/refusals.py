"""Refusals as events: `kgate events` shows what abuse-guard refuses, under the same reason ids as everywhere.

One event for all refusals of a reason, route and limit within a time: a flood must not push other events out of the
log. The first comes after a second, the next ones once a minute while it lasts.
"""

from __future__ import annotations

from kong_plugins.engine.analyst import Conclusion
from kong_plugins.engine.outcome import Outcome, memo_of

DRY_RUN = "rate_limit_dry_run"
OWN_REFUSALS = frozenset(
    (
        "ip_blocked",
        "agent_blocked",
        "user_blocked",
        "token_blocked",
        "ip_denied",
        "user_denied",
        "scenario_limited",
    )
)
"""Reasons of abuse-guard's own refusals: whoever is blocked must not be blocked again for knocking."""
TOLD = OWN_REFUSALS | {"rate_limited", "ip_unreadable", DRY_RUN}

FIRST_SECONDS, NEXT_SECONDS = 1.0, 60.0
MAX_KINDS = 256
MAX_ADDRESSES = 1000


class _Refused:
    __slots__ = ("addresses", "count", "due", "since")

    def __init__(self, now: float) -> None:
        self.count = 0
        self.addresses: set[str] = set()
        self.since, self.due = now, now + FIRST_SECONDS


class Refusals:
    """Counts refusals and tells of them. Times are Unix seconds."""

    def __init__(self) -> None:
        self._held: dict[tuple[str, str, str], _Refused] = {}
        self._next = 0.0

    def saw(self, outcome: Outcome, now: float) -> None:
        """An outcome whose reason is one of TOLD."""
        is_dry = outcome.reason == DRY_RUN
        limit = memo_of(outcome.memo, "dry" if is_dry else "limit") or ""
        key = (outcome.reason, outcome.route, limit)
        found = self._held.get(key)
        if found is None:
            if len(self._held) >= MAX_KINDS:
                return
            found = self._held[key] = _Refused(now)
            self._next = min(self._next, found.due)
        if not found.count:
            found.since = now
        found.count += 1
        if len(found.addresses) < MAX_ADDRESSES:
            found.addresses.add(outcome.ip)

    def due(self, now: float) -> list[Conclusion]:
        """What is to be told now."""
        if now < self._next or not self._held:
            return []
        made: list[Conclusion] = []
        for key, found in list(self._held.items()):
            if now < found.due:
                continue
            if not found.count:
                del self._held[key]  # it has ended
                continue
            made.append(_told(key, found, now))
            found.count, found.addresses, found.due = 0, set(), now + NEXT_SECONDS
        self._next = min((found.due for found in self._held.values()), default=0.0)
        return made


def _told(key: tuple[str, str, str], found: _Refused, now: float) -> Conclusion:
    reason, route, limit = key
    only = next(iter(found.addresses)) if len(found.addresses) == 1 else ""
    numbers = {
        "reason": reason,
        "route": route,
        **({"limit": limit} if limit else {}),
        "count": found.count,
        "addresses": len(found.addresses),
        "seconds": round(now - found.since, 1),
    }
    who = "1 address" if only else f"{len(found.addresses)} addresses"
    why = f"{reason}: {found.count} requests of {who}" + (f", limit {limit}" if limit else "")
    kind = "abuse.simulated" if reason == DRY_RUN else "abuse.refused"
    return Conclusion(kind, f"ip {only}" if only else f"route {route or '-'}", why, numbers)
