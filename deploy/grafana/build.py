"""Write the dashboards of deploy/grafana/dashboards: python deploy/grafana/build.py

They are data here, so that a panel is one line and all look alike. A test compares the files.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

FOLDER = Path(__file__).parent / "dashboards"
WIDTH, HEIGHT = 8, 7
DATASOURCE = {"type": "prometheus", "uid": "prometheus"}
KIND = {"lines": "timeseries", "now": "stat", "table": "table"}
PICK = 'tenant=~"$tenant"'


class Panel(NamedTuple):
    """about: what it means and what to do; queries: (PromQL, legend); unit: Grafana's name of it."""

    title: str
    about: str
    queries: tuple[tuple[str, str], ...]
    unit: str = "short"
    kind: str = "lines"


class Board(NamedTuple):
    """by_tenant: has the variable $tenant."""

    uid: str
    title: str
    panels: tuple[Panel, ...]
    by_tenant: bool = False


BOARDS: tuple[Board, ...] = (
    Board(
        "kgate-traffic",
        "kgate: traffic and verdicts",
        (
            Panel(
                "Requests",
                "Decided requests a second.",
                ((f"sum by (tenant) (rate(kgate_requests_total{{{PICK}}}[$__rate_interval]))", "{{tenant}}"),),
                "reqps",
            ),
            Panel(
                "Verdicts",
                "Passed on, or answered by a plugin.",
                ((f"sum by (verdict, plugin) (rate(kgate_requests_total{{{PICK}}}[$__rate_interval]))", "{{verdict}} {{plugin}}"),),
                "reqps",
            ),
            Panel(
                "Refused, by reason",
                "Reasons are explained by `kgate explain` and in the plugins' documentation.",
                ((f'sum by (reason) (rate(kgate_requests_total{{{PICK}, verdict="exit"}}[$__rate_interval]))', "{{reason}}"),),
                "reqps",
            ),
            Panel(
                "Answers by status",
                "What clients got, from the service or from the gateway.",
                ((f"sum by (status) (rate(kgate_outcomes_total{{{PICK}}}[$__rate_interval]))", "{{status}}"),),
                "reqps",
            ),
            Panel(
                "Who answered",
                "service; error: Kong for a service that could not; exit: a plugin; kgate: the guard or a prepared answer.",
                ((f"sum by (source) (rate(kgate_outcomes_total{{{PICK}}}[$__rate_interval]))", "{{source}}"),),
                "reqps",
            ),
            Panel(
                "Without a verdict",
                "Should be none. Protected routes answer 503 for these.",
                (("sum by (reason) (rate(kgate_fail_answers_total[$__rate_interval]))", "{{reason}}"),),
                "reqps",
            ),
        ),
        by_tenant=True,
    ),
    Board(
        "kgate-passport",
        "kgate: passport, issuers and keys",
        (
            Panel("Keys of issuers", "None: tokens of the issuer cannot be verified.", (("min by (issuer) (kgate_issuer_keys)", "{{issuer}}"),)),
            Panel(
                "Age of issuers' keys",
                "Since the issuer last confirmed them. They live for stale_if_error (24 h).",
                (("max by (issuer) (kgate_issuer_keys_age_seconds)", "{{issuer}}"),),
                "s",
            ),
            Panel("Stale issuers", "1: the issuer is away; users go on with the keys that are known.", (("max by (issuer) (kgate_issuer_keys_stale)", "{{issuer}}"),)),
            Panel(
                "Key fetches",
                "Failures in a row: see the server's log.",
                (("sum by (issuer, result) (rate(kgate_jwks_refreshes_total[$__rate_interval]))", "{{issuer}} {{result}}"),),
                "ops",
            ),
            Panel("Passports made", "By authn_level; reused ones do not count.", (("sum by (level) (rate(kgate_passports_issued_total[$__rate_interval]))", "{{level}}"),), "ops"),
            Panel(
                "Tokens refused",
                "By reason.",
                (('sum by (reason) (rate(kgate_requests_total{plugin="passport", verdict="exit"}[$__rate_interval]))', "{{reason}}"),),
                "reqps",
            ),
            Panel("Age of the signing key", "Rotate with `kgate keys rotate`. -1: no keyring.", (("min(kgate_passport_key_age_seconds)", "signing key"),), "s", "now"),
            Panel("Published keys", "By state, of the node that has the fewest.", (("min by (state) (kgate_passport_keys)", "{{state}}"),), kind="now"),
            Panel(
                "Enrichment",
                "Questions about users to issuers.",
                (
                    ("sum by (issuer, result) (rate(kgate_enrichment_total[$__rate_interval]))", "{{issuer}} {{result}}"),
                    ("max by (issuer) (kgate_enrichment_breaker_open)", "{{issuer}} breaker open"),
                ),
                "ops",
            ),
        ),
    ),
    Board(
        "kgate-abuse",
        "kgate: abuse",
        (
            Panel("Blocks", "In force on each node.", (("max(kgate_blocks)", "blocks"),), kind="now"),
            Panel(
                "Refused by abuse-guard",
                "ip_blocked and so on: a block. rate_limited: a limit.",
                (('sum by (reason) (rate(kgate_requests_total{plugin="abuse-guard", verdict="exit"}[$__rate_interval]))', "{{reason}}"),),
                "reqps",
            ),
            Panel(
                "Scenarios",
                "What they found, would have done (simulated), and what was held back.",
                (('sum by (kind) (increase(kgate_conclusions_total{kind=~"abuse.*"}[$__rate_interval]))', "{{kind}}"),),
            ),
            Panel(
                "Memory of the scenarios",
                "Of the node that holds most: buckets (50,000 at most), and what was pushed out or held back since its start.",
                (("max by (figure) (kgate_abuse_guard)", "{{figure}}"),),
            ),
            Panel(
                "Share refused",
                "Of all decided requests, by tenant.",
                (
                    (
                        'sum by (tenant) (rate(kgate_requests_total{plugin="abuse-guard", verdict="exit"}[$__rate_interval]))'
                        " / sum by (tenant) (rate(kgate_requests_total[$__rate_interval]))",
                        "{{tenant}}",
                    ),
                ),
                "percentunit",
            ),
            Panel(
                "Counters that made room",
                "Not 0 for long: a flood of names, or the cells are too small.",
                (("sum(rate(kgate_cells_evicted_total[$__rate_interval]))", "evicted"), ("sum(rate(kgate_cells_lock_misses_total[$__rate_interval]))", "lock misses")),
                "ops",
            ),
            Panel(
                "Strict limits without an answer",
                "Redis was away or slow: the node's own count decided.",
                (("sum by (instance) (rate(kgate_asks_unanswered_total[$__rate_interval]))", "{{instance}}"),),
                "ops",
            ),
        ),
    ),
    Board(
        "kgate-fallback",
        "kgate: breakers and fallbacks",
        (
            Panel("Breakers", "0 closed, 1 open, 2 half-open.", (("max by (breaker) (kgate_breaker_state)", "{{breaker}}"),)),
            Panel(
                "Answered at once",
                "fallback_open: the breaker; fallback_forced: an operator.",
                (('sum by (route, reason) (rate(kgate_requests_total{reason=~"fallback_.*"}[$__rate_interval]))', "{{route}} {{reason}}"),),
                "reqps",
            ),
            Panel(
                "Failures of services",
                "5xx answers, and what Kong answered for them.",
                (('sum by (route, source) (rate(kgate_outcomes_total{status="5xx"}[$__rate_interval]))', "{{route}} {{source}}"),),
                "reqps",
            ),
            Panel(
                "Openings and closings",
                "Each is an event with its numbers: `kgate events list --kind breaker`.",
                (('sum by (kind) (increase(kgate_conclusions_total{kind=~"breaker.*"}[$__rate_interval]))', "{{kind}}"),),
            ),
        ),
    ),
    Board(
        "kgate-canary",
        "kgate: canaries",
        (
            Panel("Requests of both arms", "In the last minute.", (('sum by (canary, arm) (kgate_canary{figure="requests"})', "{{canary}} {{arm}}"),)),
            Panel("Errors of both arms", "Percent, in the last minute.", (('max by (canary, arm) (kgate_canary{figure="error_percent"})', "{{canary}} {{arm}}"),), "percent"),
            Panel("p95 of both arms", "In the last minute.", (('max by (canary, arm) (kgate_canary{figure="p95_ms"})', "{{canary}} {{arm}}"),), "ms"),
            Panel(
                "Given up",
                "Each is an event with its numbers: `kgate events list --kind canary.abort`.",
                (('sum by (kind) (increase(kgate_conclusions_total{kind=~"canary.*"}[$__rate_interval]))', "{{kind}}"),),
            ),
        ),
    ),
    Board(
        "kgate-server",
        "kgate: plugin servers",
        (
            Panel(
                "Decision time",
                "Of the whole chain, without the way there and back.",
                tuple(
                    (f"histogram_quantile({q}, sum by (le) (rate(kgate_decision_seconds_bucket[$__rate_interval])))", f"p{int(float(q) * 100)}")
                    for q in ("0.5", "0.99")
                ),
                "s",
            ),
            Panel(
                "Asked for, and by lease",
                "Requests that a verdict given before stood for, of all decided ones.",
                (
                    ("sum by (instance) (rate(kgate_requests_total[$__rate_interval]))", "{{instance}} decided"),
                    ("sum by (instance) (rate(kgate_leased_requests_total[$__rate_interval]))", "{{instance}} by lease"),
                ),
                "reqps",
            ),
            Panel("Workers", "That serve.", (("kgate_workers", "{{instance}}"),)),
            Panel("Connections", "Of Kong's workers, by lane.", (("sum by (instance, lane) (kgate_connections)", "{{instance}} {{lane}}"),)),
            Panel("Age of the control state", "Since it was last confirmed.", (("kgate_state_age_seconds", "{{instance}}"), ("kgate_degraded", "{{instance}} degraded")), "s"),
            Panel("Version of the control state", "The same on all nodes, but for a moment.", (("kgate_state_version", "{{instance}}"),)),
            Panel(
                "Restarts",
                "Of workers, the keeper of the state, the analysis; and times that a worker stood still.",
                (
                    ("increase(kgate_worker_deaths_total[$__rate_interval])", "{{instance}} workers"),
                    ("increase(kgate_keeper_restarts_total[$__rate_interval])", "{{instance}} keeper"),
                    ("increase(kgate_analysis_restarts_total[$__rate_interval])", "{{instance}} analysis"),
                    ("increase(kgate_stalls_total[$__rate_interval])", "{{instance}} stood still"),
                ),
            ),
            Panel("Outcomes lost", "Rows that Kong's workers could not bring here.", (("increase(kgate_outcomes_lost_total[$__rate_interval])", "{{instance}}"),)),
            Panel("Refused peers", "Connections of users that are not allowed: see --allow-uid, --group.", (("increase(kgate_refused_peers_total[$__rate_interval])", "{{instance}}"),)),
        ),
    ),
)  # fmt: skip


def panel_json(panel: Panel, number: int) -> dict[str, Any]:
    """One panel at its place: three in a row."""
    return {
        "id": number + 1,
        "title": panel.title,
        "description": panel.about,
        "type": KIND[panel.kind],
        "datasource": DATASOURCE,
        "gridPos": {"x": number % 3 * WIDTH, "y": number // 3 * HEIGHT, "w": WIDTH, "h": HEIGHT},
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "options": {"legend": {"displayMode": "list", "placement": "bottom"}}
        if panel.kind == "lines"
        else {},
        "targets": [
            {"refId": chr(65 + place), "datasource": DATASOURCE, "expr": query, "legendFormat": legend}
            for place, (query, legend) in enumerate(panel.queries)
        ],
    }


def board_json(board: Board) -> dict[str, Any]:
    """One dashboard."""
    tenant = {
        "name": "tenant",
        "type": "query",
        "datasource": DATASOURCE,
        "query": "label_values(kgate_requests_total, tenant)",
        "definition": "label_values(kgate_requests_total, tenant)",
        "refresh": 2,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"text": "All", "value": "$__all"},
    }
    return {
        "uid": board.uid,
        "title": board.title,
        "tags": ["kgate"],
        "schemaVersion": 39,
        "editable": False,
        "refresh": "15s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {"list": [tenant] if board.by_tenant else []},
        "links": [{"type": "dashboards", "tags": ["kgate"], "asDropdown": False, "title": "", "includeVars": True}],
        "panels": [panel_json(panel, number) for number, panel in enumerate(board.panels)],
    }  # fmt: skip


def files() -> dict[Path, str]:
    """The files and what they shall hold."""
    return {
        FOLDER / f"{board.uid}.json": json.dumps(board_json(board), indent=1, ensure_ascii=False) + "\n"
        for board in BOARDS
    }


if __name__ == "__main__":
    for path, text in files().items():
        path.write_text(text, encoding="utf-8")
