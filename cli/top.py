"""What `kgate top` shows, as one value and as lines."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from cli import node_metrics
from cli.report import state as report
from kong_plugins.state.base import Store
from kong_plugins.state.operations.overview import Overview, overview

_ROWS = 8


class Watch:
    """Looks at the control state and the plugin servers again and again. clock: seconds, never back."""

    def __init__(self, store: Store, urls: Sequence[str], clock: Callable[[], float]) -> None:
        self._store, self._urls, self._clock = store, urls, clock
        self._sample: node_metrics.Sample | None = None
        self._state: Overview | None = None

    def look(self) -> dict[str, Any]:
        """The state of now and the rates since the last look. Raises StoreError."""
        self._state = state = overview(self._store, self._state)
        old, self._sample = self._sample, node_metrics.look(self._urls, self._clock())
        new = self._sample
        now = self._store.now()
        return {
            "servers": {
                "asked": len(self._urls),
                "answered": new.servers,
                "away": dict(new.away),
                "workers": new.workers,
                "degraded": new.degraded,
                "state_age_seconds": round(new.age, 3),
                "state_version": new.version,
            },
            **node_metrics.rates(old, new),
            "state": {
                "version": state.version,
                "blocks": state.blocks,
                "imported_blocks": state.imported,
                "allows": state.allows,
                "revocations": state.revocations,
            },
            "canaries": [report.record(one) for one in state.canaries if _lasts(one.expires, now)],
            "fallbacks": [report.record(one) for one in state.fallbacks if _lasts(one.expires, now)],
            "breakers": {
                "held": [report.record(one) for one in state.breakers if _lasts(one.expires, now)],
                "counted": [{"name": name, "value": value} for name, value in new.breakers],
            },
            "events": [report.record(event) for event in state.events],
        }


def _lasts(expires: float | None, now: float) -> bool:
    return expires is None or now < expires


def lines(seen: dict[str, Any]) -> Iterator[str]:
    """One snapshot for people, without a terminal."""
    yield from summary(seen)
    for title, rows in tables(seen):
        yield f"{title}:"
        yield from (f"  {'  '.join(row)}" for row in rows)


def summary(seen: dict[str, Any]) -> Iterator[str]:
    """The lines at the top."""
    servers, state = seen["servers"], seen["state"]
    if not servers["asked"]:
        yield "no --metrics: rates are not known"
    else:
        degraded = f", {servers['degraded']} degraded" if servers["degraded"] else ""
        yield (
            f"{_rate(seen['requests_per_second'])} requests/s, {_rate(seen['fails_per_second'])} fails/s; "
            f"{servers['answered']} of {servers['asked']} servers, {servers['workers']} workers{degraded}"
        )
        if servers["state_version"] not in (None, state["version"]):
            yield f"a server is at version {servers['state_version']}, state age {servers['state_age_seconds']:g} s"
        for url, why in servers["away"].items():
            yield f"{url} is away: {report.printable(why)}"
    yield (
        f"control state {state['version']}: {state['blocks']:,} blocks, {state['imported_blocks']:,} imported, "
        f"{state['allows']:,} allows, {state['revocations']:,} revocations"
    )


def tables(seen: dict[str, Any]) -> Iterator[tuple[str, list[list[str]]]]:
    """(title, rows) of what there is."""
    verdicts = [
        [_rate(one["per_second"]), one["verdict"], one["plugin"] or "-", one["rule"] or "-"]
        for one in seen["verdicts"][:_ROWS]
    ]
    routes = [[_rate(one["per_second"]), report.printable(one["route"])] for one in seen["routes"][:_ROWS]]
    arms = [
        [report.printable(one["route"]), f"canary {one['canary']:g}", f"control {one['control']:g}",
         "-" if one["canary_percent"] is None else f"{one['canary_percent']:g}%"]
        for one in seen["arms"][:_ROWS]
    ]  # fmt: skip
    canaries = [
        [report.printable(one["name"]), _mode(one), "plan" if one["percent"] is None else f"{one['percent']:g}%",
         f"by {report.printable(one['actor'])}"]
        for one in seen["canaries"][:_ROWS]
    ]  # fmt: skip
    held = [
        [_scope(one), one["state"], report.until(one["expires"]), f"by {report.printable(one['actor'])}"]
        for one in seen["breakers"]["held"][:_ROWS]
    ]
    held += [[one["name"], f"{one['value']:g}"] for one in seen["breakers"]["counted"][:_ROWS]]
    forced = [
        [_scope(one), report.until(one["expires"]), f"by {report.printable(one['actor'])}"]
        for one in seen["fallbacks"][:_ROWS]
    ]
    events = [
        [report.utc(one["time"]), report.printable(one["kind"]), report.printable(one["subject"]),
         f"by {report.printable(one['actor'])}"]
        for one in seen["events"]
    ]  # fmt: skip
    for title, rows in (
        ("verdicts (a second)", verdicts),
        ("routes (a second)", routes),
        ("canary arms (requests)", arms),
        ("canary overrides", canaries),
        ("breakers", held),
        ("forced fallbacks", forced),
        ("events", events),
    ):
        if rows:
            yield title, rows


def _rate(value: float | None) -> str:
    return "-" if value is None else f"{value:,.1f}"


def _mode(one: dict[str, Any]) -> str:
    return "aborted" if one["aborted"] else "paused" if one["paused"] else "running"


def _scope(one: dict[str, Any]) -> str:
    return "*" if one["scope"] == "*" else f"{one['scope']}:{report.printable(one['value'])}"
