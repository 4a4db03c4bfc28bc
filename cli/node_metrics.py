"""What plugin servers tell in Prometheus's text format, added up over all servers, and rates between two looks."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from prometheus_client.parser import text_string_to_metric_families

from kong_plugins.identity.http_get import FetchError, get

TIMEOUT = 1.5
MAX_BYTES = 32 * 1024 * 1024
_CONTROL_RULES = frozenset({"canary_paused", "canary_aborted", "canary_denied"})

Key = tuple[str, str, str, str]
"""route, answering plugin ("" when it passed), verdict, rule."""


class Sample(NamedTuple):
    """One look at all servers at `time` (seconds of any clock). away: url -> why it did not answer. version and
    age (seconds): the oldest control state of all servers."""

    time: float
    requests: Mapping[Key, float]
    fails: Mapping[str, float]
    workers: int
    degraded: int
    age: float
    version: int | None
    breakers: tuple[tuple[str, float], ...]
    servers: int
    away: Mapping[str, str]
    canaries: Mapping[str, Mapping[str, Mapping[str, float]]] = {}
    """Figures of the last minute by canary and arm, of the node that has seen most: each counts for all."""


def look(urls: Sequence[str], now: float) -> Sample:
    """Ask all servers at once."""
    texts: list[str] = []
    away: dict[str, str] = {}
    with ThreadPoolExecutor(max_workers=max(1, min(16, len(urls)))) as pool:
        for url, answer in zip(urls, pool.map(_fetch, urls), strict=True):
            if isinstance(answer, str):
                texts.append(answer)
            else:
                away[url] = str(answer)
    return read(texts, now, away)


def metrics_url(text: str) -> str:
    """The URL with its path: a server's address alone means /metrics. Raises ValueError."""
    url = text if "://" in text else f"http://{text}"
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"{text!r} is no URL of a plugin server's metrics")
    return url if parts.path not in ("", "/") else f"{url.rstrip('/')}/metrics"


def read(texts: Iterable[str], now: float, away: Mapping[str, str]) -> Sample:
    """The sum of the servers' texts. A text that cannot be read raises ValueError."""
    requests: defaultdict[Key, float] = defaultdict(float)
    fails: defaultdict[str, float] = defaultdict(float)
    breakers: list[tuple[str, float]] = []
    canaries: dict[str, dict[str, dict[str, float]]] = {}
    workers = degraded = servers = 0
    age, version = 0.0, None
    for text in texts:
        servers += 1
        mine: dict[str, dict[str, dict[str, float]]] = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                labels, value = sample.labels, sample.value
                if sample.name == "kgate_requests_total":
                    key = (labels["route"], labels["plugin"], labels["verdict"], labels["reason"])
                    requests[key] += value
                elif sample.name == "kgate_fail_answers_total":
                    fails[labels["reason"]] += value
                elif sample.name == "kgate_workers":
                    workers += int(value)
                elif sample.name == "kgate_degraded":
                    degraded += value > 0
                elif sample.name == "kgate_state_age_seconds":
                    age = max(age, value)
                elif sample.name == "kgate_state_version" and value > 0:
                    version = int(value) if version is None else min(version, int(value))
                elif sample.name == "kgate_canary":
                    arms = mine.setdefault(labels["canary"], {})
                    arms.setdefault(labels["arm"], {})[labels["figure"]] = value
                elif sample.name.startswith("kgate_breaker"):
                    named = ",".join(f"{name}={text}" for name, text in sorted(labels.items()))
                    breakers.append((f"{sample.name}{{{named}}}", value))
        for name, figures in mine.items():
            if _requests(figures) >= _requests(canaries.get(name, {})):
                canaries[name] = figures
    return Sample(
        now,
        dict(requests),
        dict(fails),
        workers,
        degraded,
        age,
        version,
        tuple(sorted(breakers)),
        servers,
        dict(away),
        canaries,
    )


def _requests(arms: Mapping[str, Mapping[str, float]]) -> float:
    return sum(figures.get("requests", 0.0) for figures in arms.values())


def rates(old: Sample | None, new: Sample) -> dict[str, Any]:
    """Requests a second between two looks: in all, by verdict and by route; and each canary's arms by route.

    Without an earlier look there are no rates (null), and arms are of all time.
    """
    seconds = 0.0 if old is None else new.time - old.time
    since = {} if old is None else old.requests
    # a server that was restarted counts from 0 again
    counted = {key: value - since.get(key, 0.0) for key, value in new.requests.items()}
    counted = {key: value if value >= 0 else new.requests[key] for key, value in counted.items()}
    by_verdict: defaultdict[tuple[str, str, str], float] = defaultdict(float)
    by_route: defaultdict[str, float] = defaultdict(float)
    for (route, plugin, verdict, rule), count in counted.items():
        by_verdict[(verdict, plugin, rule)] += count
        by_route[route] += count

    def rate(count: float) -> float | None:
        return round(count / seconds, 2) if seconds > 0 else None

    failed = sum(new.fails.values()) - (0.0 if old is None else sum(old.fails.values()))
    return {
        "requests_per_second": rate(sum(counted.values())),
        "fails_per_second": rate(max(0.0, failed)),
        "verdicts": [
            {
                "verdict": verdict,
                "plugin": plugin,
                "rule": rule,
                "per_second": rate(count),
                "total": _total(new, verdict, plugin, rule),
            }
            for (verdict, plugin, rule), count in sorted(
                by_verdict.items(), key=lambda item: (-item[1], item[0])
            )
        ],
        "routes": [
            {"route": route, "per_second": rate(count)}
            for route, count in sorted(by_route.items(), key=lambda item: (-item[1], item[0]))
        ],
        "arms": _arms(counted if any(counted.values()) else new.requests),
    }


def _total(sample: Sample, verdict: str, plugin: str, rule: str) -> float:
    return sum(n for (_, p, v, r), n in sample.requests.items() if (v, p, r) == (verdict, plugin, rule))


def _arms(requests: Mapping[Key, float]) -> list[dict[str, Any]]:
    """Passed requests of the routes on which a canary was seen."""
    seen = {route for route, _, _, rule in requests if rule.startswith("canary_")}
    arms: list[dict[str, Any]] = []
    for route in sorted(seen):
        passed = {r: n for (at, _, verdict, r), n in requests.items() if at == route and verdict == "pass"}
        canary = sum(
            n for rule, n in passed.items() if rule.startswith("canary_") and rule not in _CONTROL_RULES
        )
        everybody = sum(passed.values())
        share = round(100 * canary / everybody, 2) if everybody else None
        arms.append(
            {"route": route, "canary": canary, "control": everybody - canary, "canary_percent": share}
        )
    return arms


def _fetch(url: str) -> str | FetchError:
    try:
        return get(url, TIMEOUT, MAX_BYTES).decode("utf-8", "replace")
    except FetchError as error:
        return error
