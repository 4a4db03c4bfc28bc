"""The alert rules, evaluated on what the plugin server's own metrics said in good and bad minutes."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from kong_plugins.server.columns import Kind
from kong_plugins.server.metrics import Metrics
from kong_plugins.server.tally import BUCKETS
from tests.deploy.promql import Recording, evaluate, selectors

ROOT = Path(__file__).parents[2]
RULES = {
    rule["alert"]: rule
    for group in yaml.safe_load((ROOT / "deploy/prometheus/rules.yml").read_text("utf-8"))["groups"]
    for rule in group["rules"]
}
STEP = 15.0
Change = Callable[[Metrics, int], None]


def seconds(text: str) -> float:
    units = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
    return timedelta(**{units[text[-1]]: float(text[:-1])}).total_seconds()


def report(passed: int = 95, refused: int = 5, slow: int = 0, **more: Any) -> dict[str, Any]:
    """What a worker tells of 15 s."""
    buckets = [0] * (len(BUCKETS) + 1)
    buckets[3], buckets[8] = passed, slow
    verdicts = [
        ["order", "orders", "", "", passed],
        ["order", "orders", "passport", "token_expired", refused],
    ]
    return {"verdicts": verdicts, "failures": {}, "buckets": buckets, "seconds": 0.1} | more


TRUST = {
    "issuers": {"main": [2, 0, 60.0, 1, 0]},
    "enrichment": {"main": [0, {"good": 3}]},
    "issued": {"full": 10},
    "signing": {"age": 86_400.0, "states": {"current": 1, "previous": 1}},
}


def healthy(metrics: Metrics, step: int) -> None:
    metrics.worker(report(trust=TRUST))
    metrics.trust([TRUST])
    metrics.node(2, {"express": 4, "pdk": 0}, 0)
    metrics.state(degraded=False, age=0.5, version=7, blocks=12)
    figures = {"requests": 100, "errors": 1, "error_percent": 1.0, "p95_ms": 20.0}
    metrics.levels(
        {
            "static-fallback": {"service:checkout": 0},
            "canary-router": {
                f"v2 {arm} {name}": v for arm in ("canary", "control") for name, v in figures.items()
            },
        }
    )


def trust(**changes: Any) -> Change:
    return lambda metrics, step: metrics.trust([{**TRUST, **changes}])


def worse(metrics: Metrics, step: int) -> None:
    metrics.levels({"canary-router": {"v2 canary error_percent": 6.0, "v2 control error_percent": 1.0}})


def lost(metrics: Metrics, step: int) -> None:
    metrics.lost(10)


def guard(metrics: Metrics, step: int) -> None:
    metrics.outcomes({Kind("order", "orders", "5", "kgate", "server_away"): 5})


def forced(metrics: Metrics, step: int) -> None:
    metrics.worker(report() | {"verdicts": [["pay", "checkout", "static-fallback", "fallback_forced", 3]]})


BAD: dict[str, tuple[Change, ...]] = {
    "KgateNoWorkers": (lambda m, step: m.node(0, {}, 0),),
    "KgateWithoutVerdict": (
        lambda m, step: m.worker(report() | {"failures": {"deadline": 3}}),
        guard,
    ),
    "KgateSlowDecisions": (lambda m, step: m.worker(report(passed=90, slow=10)),),
    "KgateWorkersDie": (lambda m, step: m.died() if step % 4 == 0 else None,),
    "KgateStateStale": (lambda m, step: m.state(True, 60.0, 7, 12),),
    "KgateOutcomesLost": (lost,),
    "KgateRefusedPeers": (lambda m, step: m.refused() if step == 100 else None,),
    "KgateIssuerWithoutKeys": (lambda m, step: m.node(2, {}, 1),),
    "KgateIssuerKeysStale": (trust(issuers={"main": [2, 1, 9000.0, 0, 1]}),),
    "KgateSigningKeyOld": (trust(signing={"age": 200 * 86_400.0, "states": {}}),),
    "KgateEnrichmentAway": (trust(enrichment={"main": [1, {}]}),),
    "KgateManyRefused": (lambda m, step: m.worker(report(passed=10, refused=200)),),
    "KgateBreakerOpen": (lambda m, step: m.levels({"static-fallback": {"service:checkout": 1}}),),
    "KgateFallbackForgotten": (forced,),
    "KgateCanaryWorse": (worse,),
}


def record(change: Change, minutes: float, every: float = STEP, only: set[str] | None = None) -> Recording:
    """So many minutes of a node's scrapes."""
    recording, metrics = Recording(), Metrics()
    for step in range(int(minutes * 60 / every)):
        healthy(metrics, step)
        change(metrics, step)
        recording.scrape(step * every, metrics.text().decode(), only, job="kgate", instance="kgate-1:9542")
    return recording


def fires(rule: dict[str, Any], recording: Recording, minutes: float) -> bool:
    """Whether it fires at some time: the expression holds at each evaluation of `for`."""
    pending = 0.0
    needed = seconds(rule.get("for", "0s"))
    step = max(STEP, needed / 40)
    now = STEP
    while now < minutes * 60:
        pending = pending + step if evaluate(rule["expr"], recording, now) else 0.0
        if pending > needed:
            return True
        now += step
    return False


@pytest.fixture(scope="module")
def calm() -> Recording:
    return record(lambda metrics, step: None, 40)


@pytest.mark.parametrize("alert", RULES)
def test_a_healthy_node_is_quiet(calm: Recording, alert: str) -> None:
    assert not fires(RULES[alert] | {"for": "0s"}, calm, 40)


@pytest.mark.parametrize(
    ("alert", "change"), [(name, each) for name, changes in BAD.items() for each in changes]
)
def test_it_fires_when_it_should(alert: str, change: Change) -> None:
    rule = RULES[alert]
    minutes = 30 + seconds(rule.get("for", "0s")) / 60 * 1.2
    every = STEP if minutes < 60 else 120.0  # hours of scrapes take long
    only = {selector.name for selector in selectors(rule["expr"])}
    assert fires(rule, record(change, minutes, every, only), minutes)


def test_down_fires_for_a_target_that_does_not_answer() -> None:
    recording = Recording()
    for step in range(20):
        recording.put("up", step * STEP, 0.0, job="kgate", instance="kgate-1:9542")
    assert fires(RULES["KgateDown"], recording, 5)


def test_nodes_with_different_states_are_told() -> None:
    recording = Recording()
    for step in range(60):
        for node, version in (("a", 7), ("b", 9)):
            metrics = Metrics()
            metrics.state(False, 0.1, version, 0)
            recording.scrape(step * STEP, metrics.text().decode(), job="kgate", instance=node)
    assert fires(RULES["KgateStateDiffers"], recording, 15)


def test_every_alert_has_a_bad_case_and_says_what_to_do() -> None:
    assert set(RULES) == {*BAD, "KgateDown", "KgateStateDiffers"}
    for name, rule in RULES.items():
        assert rule["labels"]["severity"] in ("page", "ticket"), name
        assert {"summary", "do"} == set(rule["annotations"]), name
        for command in re.findall(r"kgate ([a-z]+)", rule["annotations"]["do"]):
            from cli.main import COMMANDS

            assert command in COMMANDS, f"{name}: kgate {command}"


def test_alerts_that_the_documentation_names_exist() -> None:
    for page in (ROOT / "docs").rglob("*.md"):
        for name in re.findall(r"`(Kgate[A-Za-z]+)`", page.read_text("utf-8")):
            assert name in RULES, f"{page.name}: {name}"
