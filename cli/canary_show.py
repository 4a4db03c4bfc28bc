"""What `kgate canary show` adds to the records: the share of now, where an override differs, and both arms live."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from cli.canary_plans import CANARY
from cli.errors import UsageError
from cli.report.state import printable, utc
from kong_plugins.canary_router.bucket import BUCKETS
from kong_plugins.canary_router.core import limit_at
from kong_plugins.engine.registry import parse_config
from kong_plugins.state import ramps
from kong_plugins.state.base import CanaryOverride

if TYPE_CHECKING:
    from decl.model import Plugin

FIGURES = ("requests", "errors", "error_percent", "p95_ms")


def planned_percent(config: Mapping[str, Any]) -> str:
    """The plan's percent or ramp in words."""
    ramp = config.get("ramp")
    if not isinstance(ramp, Mapping):
        return f"{config.get('percent') or 0:g}%"
    holds = "".join(f", hold {hold}" for hold in ramp.get("hold") or ())
    rise = f"ramp {ramp.get('from') or 0:g}% to {ramp.get('to') or 0:g}%"
    return printable(f"{rise} from {ramp.get('start')} over {ramp.get('over')}{holds}")


def share(config: Mapping[str, Any], override: CanaryOverride | None, now: float) -> float | None:
    """The percent of the users that see the canary at `now`; None for a config that cannot be used."""
    try:
        parsed: Any = parse_config(CANARY, config)
    except ValueError:
        return None
    if parsed.paused or (override is not None and (override.paused or override.aborted)):
        return 0.0
    return 100 * limit_at(parsed, override, now) / BUCKETS


def differs(planned: Sequence[Plugin], override: CanaryOverride | None, now: float) -> list[str]:
    """Where the override says something else than the plan, and since when."""
    if override is None:
        return []
    found = []
    days = (now - override.changed) / 86_400
    since = f"since {utc(override.changed)}" + (f" ({days:.0f} days)" if days >= 1 else "")
    for name in ("aborted", "paused"):
        if getattr(override, name):
            found.append(f"{name} {since}")
    for plugin in planned:
        config = plugin.config
        if ramps.own_ramp(override.ramp) is not None:
            found.append(f"{planned_percent(config)} -> a ramp of its own {since}")
        elif override.percent is not None and (
            config.get("ramp") or override.percent != (config.get("percent") or 0)
        ):
            found.append(f"{planned_percent(config)} -> {override.percent:g}% {since}")
        elif config.get("ramp") and ramps.clock_of(override.ramp) != ramps.Clock():
            found.append(f"its ramp was paused {since}")
        users = set(config.get("users") or ())
        if override.users is not None and override.users != users:
            found.append(f"{len(users)} pinned users -> {len(override.users)} {since}")
        if override.users_list is not None and override.users_list != config.get("users_list"):
            found.append(f"users -> the list {printable(override.users_list)} {since}")
    return found


def arms(name: str, urls: Iterable[str]) -> dict[str, Any]:
    """Both arms of the last minute, as the nodes tell. Each node counts for all nodes that share its Redis, so
    the one that has seen most is shown. Raises UsageError."""
    from cli import node_metrics

    try:
        servers = [node_metrics.metrics_url(url) for url in urls]
    except ValueError as error:
        raise UsageError(f"--metrics: {error}") from error
    seen = node_metrics.look(servers, time.monotonic())
    return {"arms": seen.canaries.get(name, {}), "away": dict(seen.away)}


def lines(found: Mapping[str, Any]) -> list[str]:
    """Both arms as a table; and who did not answer."""
    told: Mapping[str, Mapping[str, float]] = found["arms"]
    total = sum(told.get(arm, {}).get("requests", 0) for arm in told)
    rows = []
    for arm in ("canary", "control", "pinned"):
        one = told.get(arm, {})
        if one.get("requests"):
            p95 = f", p95 {one['p95_ms']:g} ms" if "p95_ms" in one else ""
            rows.append(
                f"{arm}: {one['requests']:g} requests ({one['requests'] / total:.1%}), "
                f"{one.get('errors', 0):g} errors ({one.get('error_percent', 0):g}%){p95}"
            )
    if not rows:
        rows.append("no requests in the last minute")
    return [*rows, *(f"{url} does not answer: {why}" for url, why in found["away"].items())]
