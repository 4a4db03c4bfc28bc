"""Dashboards and rules ask for metrics and labels that exist."""

from __future__ import annotations

import json
import re
import runpy
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml

from kong_plugins.server.metrics import Metrics
from tests.deploy.promql import Recording, selectors
from tests.deploy.test_alerts import forced, guard, healthy, worse

ROOT = Path(__file__).parents[2]
BUILD = runpy.run_path(str(ROOT / "deploy" / "grafana" / "build.py"))
FILES: dict[Path, str] = BUILD["files"]()


def known() -> dict[str, set[str]]:
    """Label names by metric, of a node on which everything happened once."""
    metrics = Metrics()
    for change in (healthy, guard, forced, worse):
        change(metrics, 0)
    healthy(metrics, 1)
    metrics.levels(
        {
            "static-fallback": {"service:x": 1},
            "canary-router": {"v2 canary p95_ms": 1, "v2 canary requests": 1},
            "abuse-guard": {"buckets": 1},
            "conclusions": {"abuse.found": 1},
        }
    )
    recording = Recording()
    recording.scrape(0, metrics.text().decode(), job="kgate", instance="a")
    return {name: {key for labels in rows for key, _ in labels} for name, rows in recording.series.items()}


KNOWN = known()


def queries() -> list[tuple[str, str]]:
    found = [
        (f"{path.name}: {panel['title']}", target["expr"])
        for path in FILES
        for panel in json.loads(path.read_text("utf-8"))["panels"]
        for target in panel["targets"]
    ]
    rules = yaml.safe_load((ROOT / "deploy/prometheus/rules.yml").read_text("utf-8"))["groups"]
    return found + [(rule["alert"], rule["expr"]) for group in rules for rule in group["rules"]]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_the_files_are_what_build_py_makes(path: Path) -> None:
    """python deploy/grafana/build.py"""
    assert path.read_text("utf-8") == FILES[path]


def test_there_is_no_other_dashboard() -> None:
    assert set((ROOT / "deploy" / "grafana" / "dashboards").glob("*")) == set(FILES)


@pytest.mark.parametrize(("where", "query"), queries())
def test_every_metric_and_label_exists(where: str, query: str) -> None:
    query = query.replace("$__rate_interval", "5m").replace("$tenant", ".*")
    promql_parser.parse(query)
    for selector in selectors(query):
        assert selector.name in KNOWN, f"{where}: {selector.name}"
        for matcher in selector.matchers.matchers:
            assert matcher.name in KNOWN[selector.name], f"{where}: {selector.name}: {matcher.name}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_legends_name_labels_that_the_query_keeps(path: Path) -> None:
    for panel in json.loads(path.read_text("utf-8"))["panels"]:
        assert panel["description"], panel["title"]
        for target in panel["targets"]:
            check_legend(target)


def check_legend(target: dict[str, Any]) -> None:
    expr = target["expr"]
    for label in [part.split("}}")[0] for part in target["legendFormat"].split("{{")[1:]]:
        kept = expr.split("by (")[1].split(")")[0].split(", ") if "by (" in expr else None
        known_to = (
            kept if kept is not None else KNOWN[selectors(expr.replace("$__rate_interval", "5m"))[0].name]
        )
        assert label in known_to, f"{expr}: {label}"


def test_every_metric_is_on_a_dashboard() -> None:
    """A new metric that nobody sees is no use."""
    shown = {
        s.name
        for _, q in queries()
        for s in selectors(q.replace("$__rate_interval", "5m").replace("$tenant", ".*"))
    }
    quiet = {
        name
        for name in KNOWN
        if name.startswith("kgate_") and not name.endswith(("_created", "_sum", "_count"))
    }
    assert quiet - shown == set()


def test_metrics_that_the_documentation_names_exist() -> None:
    for page in (ROOT / "docs").rglob("*.md"):
        for name in re.findall(r"`(kgate_[a-z_]+)(?:\{[^`]*\})?`", page.read_text("utf-8")):
            assert name in KNOWN or f"{name}_total" in KNOWN or f"{name}_bucket" in KNOWN, (
                f"{page.name}: {name}"
            )
