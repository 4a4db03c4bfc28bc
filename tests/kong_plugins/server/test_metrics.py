"""Metrics: what is counted, and that no client can make them grow."""

from typing import Any

import pytest

from kong_plugins.abuse_guard.analyst import Analyst
from kong_plugins.engine.facts import Facts
from kong_plugins.engine.outcome import Outcome
from kong_plugins.engine.verdict import Verdict
from kong_plugins.server import metrics, tally
from kong_plugins.server.columns import Kind, pack_rows, read_batch
from kong_plugins.server.metrics import Metrics
from kong_plugins.server.tally import BUCKETS, Tally

FACTS = Facts("r1", "203.0.113.9", "http", "GET", "h", "/secret/path", "/secret/path", "orders", "order", "food",
              "", frozenset(), {})  # fmt: skip
ROW = Outcome("orders", "order", "food", "200", "200", "1", "3", "service", "", "", "", "203.0.113.9")


def counts_of(row: Outcome) -> dict[Kind, int]:
    return read_batch(pack_rows([["r1", *row]])).counts()


def test_a_report_holds_what_came_since_the_last_one() -> None:
    counted = Tally()
    counted.add(FACTS, Verdict(), 0.00002)
    counted.add(FACTS, Verdict(), 0.02)
    counted.add(FACTS, Verdict(status=403, plugin="abuse-guard", reason="ip_blocked"), 99)
    counted.fail("deadline")
    told = counted.report()
    assert ["food", "orders", "", "", 2] in told["verdicts"]
    assert ["food", "orders", "abuse-guard", "ip_blocked", 1] in told["verdicts"]
    assert told["failures"] == {"deadline": 1}
    assert sum(told["buckets"]) == 3
    assert told["buckets"][-1] == 1, "slower than every bound"
    again = counted.report()
    assert (again["verdicts"], again["failures"], sum(again["buckets"])) == ([], {}, 0)
    assert counted.decisions == 3


def test_reports_of_workers_add_up() -> None:
    found = Metrics()
    for _ in range(2):
        counted = Tally()
        counted.add(FACTS, Verdict(status=401, plugin="passport", reason="token_missing"), 0.00002)
        counted.fail("filter_error")
        found.worker(counted.report())
    text = found.text().decode()
    labels = 'plugin="passport",reason="token_missing",route="orders",tenant="food",verdict="exit"'
    assert f"kgate_requests_total{{{labels}}} 2.0" in text
    assert 'kgate_fail_answers_total{reason="filter_error"} 2.0' in text
    assert f'kgate_decision_seconds_bucket{{le="{BUCKETS[1]}"}} 2.0' in text
    assert "kgate_decision_seconds_count 2.0" in text


def test_refusals_of_the_abuse_guard_are_told_by_their_reason() -> None:
    counted, found = Tally(), Metrics()
    for status, reason, times in ((403, "ip_blocked", 3), (429, "rate_limited", 2)):
        for _ in range(times):
            counted.add(FACTS, Verdict(status=status, plugin="abuse-guard", reason=reason), 0.001)
    found.worker(counted.report())
    lines = [line for line in found.text().decode().splitlines() if line.startswith("kgate_requests_total{")]
    rest = 'route="orders",tenant="food",verdict="exit"'
    assert sorted(lines) == [
        f'kgate_requests_total{{plugin="abuse-guard",reason="{reason}",{rest}}} {count}'
        for reason, count in (("ip_blocked", "3.0"), ("rate_limited", "2.0"))
    ]


def test_outcomes_and_the_guards_own_answers() -> None:
    found = Metrics()
    found.outcomes(counts_of(ROW))
    found.outcomes(counts_of(ROW._replace(status="503", source="kgate", reason="server_away")))
    found.outcomes(counts_of(ROW._replace(status="403", source="kgate", reason="ip_blocked")))
    found.outcomes(counts_of(ROW._replace(status="", source="<script>")))
    found.lost(3)
    found.lost(-1)
    text = found.text().decode()
    assert 'kgate_outcomes_total{route="orders",source="service",status="2xx",tenant="food"} 1.0' in text
    assert 'kgate_outcomes_total{route="orders",source="none",status="none",tenant="food"} 1.0' in text
    assert 'kgate_fail_answers_total{reason="server_away"} 1.0' in text
    assert "ip_blocked" not in text.partition("kgate_fail_answers_total")[2].partition("# HELP")[0]
    assert "kgate_outcomes_lost_total 3.0" in text


def test_whatever_the_server_did_not_decide_is_a_request_without_a_verdict() -> None:
    """In the pdk lane a server that hangs is "no_verdict", and a route that may stay open passes without one."""
    found = Metrics()
    found.outcomes(counts_of(ROW._replace(status="503", source="kgate", reason="no_verdict")))
    found.outcomes(counts_of(ROW._replace(reason="no_verdict")))
    found.outcomes(counts_of(ROW._replace(status="502", source="error", reason="server_away")))
    found.outcomes(counts_of(ROW._replace(status="503", source="kgate", reason="deadline")))
    text = found.text().decode()
    assert 'kgate_fail_answers_total{reason="no_verdict"} 2.0' in text
    assert 'kgate_fail_answers_total{reason="server_away"} 1.0' in text
    assert 'reason="deadline"' not in text, "the server's own word: it has counted it"


def test_users_addresses_and_paths_are_no_labels() -> None:
    counted, found = Tally(), Metrics()
    counted.add(FACTS, Verdict(memo="alice"), 0.001)
    found.worker(counted.report())
    found.outcomes(counts_of(ROW))
    text = found.text().decode()
    assert not [word for word in ("alice", "203.0.113.9", "/secret", "r1") if word in text]


def test_a_name_that_is_no_text_does_not_end_all_metrics() -> None:
    counted, found = Tally(), Metrics()
    counted.add(FACTS._replace(route="caf\udce9", tenant="\udcff"), Verdict(), 0.001)
    found.worker(counted.report())
    found.outcomes(counts_of(ROW._replace(route="caf\udce9")))
    text = found.text().decode()
    assert 'kgate_outcomes_total{route="caf\\\\udce9"' in text
    assert 'route="caf\\\\udce9",tenant="\\\\udcff"' in text


def test_series_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "MAX_SERIES", 5)
    monkeypatch.setattr(tally, "MAX_LABELS", 8)
    counted, found = Tally(), Metrics()
    for number in range(50):
        counted.add(FACTS._replace(route=f"route-{number}"), Verdict(), 0.001)
        found.outcomes(counts_of(ROW._replace(route=f"route-{number}")))
    told = counted.report()
    assert len(told["verdicts"]) == 9
    assert sum(row[-1] for row in told["verdicts"]) == 50, "nothing is lost, only put together"
    found.worker(told)
    text = found.text().decode()
    routes = {line.split('route="')[1].split('"')[0] for line in text.splitlines() if 'route="' in line}
    assert len(routes) <= 6
    assert "other" in routes


def test_gauges_of_the_node() -> None:
    found = Metrics()
    found.node(workers=2, connections={"express": 7}, without_keys=1)
    found.state(degraded=True, age=1.5, version=12, blocks=3)
    found.keeper_died()
    found.cells(evicted=4, missed=5)
    found.unanswered(6)
    text = found.text().decode()
    for line in (
        "kgate_workers 2.0",
        'kgate_connections{lane="express"} 7.0',
        "kgate_degraded 1.0",
        "kgate_state_age_seconds 1.5",
        "kgate_state_version 12.0",
        "kgate_blocks 3.0",
        "kgate_keeper_restarts_total 1.0",
        "kgate_cells_evicted_total 4.0",
        "kgate_cells_lock_misses_total 5.0",
        "kgate_asks_unanswered_total 6.0",
        "kgate_issuers_without_keys 1.0",
    ):
        assert line in text


def test_keys_enrichment_and_passports() -> None:
    """Counters add up over the workers, of gauges the worst counts."""

    def report(age: float, stale: int, opened: int) -> dict[str, Any]:
        return {
            "issuers": {"main": [2, stale, age, 3, 1], "inline": [1, 0, -1.0, 0, 0]},
            "enrichment": {"main": [opened, {"good": 5}]},
            "issued": {"full": 7},
            "signing": {"age": 60.0, "states": {"current": 1, "previous": 2}},
        }

    found, told = Metrics(), [report(1.0, 0, 1), report(9.0, 1, 0)]
    for each in told:
        found.worker({**Tally().report(), "trust": each})
    found.trust(told)
    text = found.text().decode()
    for line in (
        'kgate_issuer_keys{issuer="main"} 2.0',
        'kgate_issuer_keys_stale{issuer="main"} 1.0',
        'kgate_issuer_keys_age_seconds{issuer="main"} 9.0',
        'kgate_jwks_refreshes_total{issuer="main",result="failed"} 2.0',
        'kgate_jwks_refreshes_total{issuer="main",result="good"} 6.0',
        'kgate_enrichment_total{issuer="main",result="good"} 10.0',
        'kgate_enrichment_breaker_open{issuer="main"} 1.0',
        'kgate_passports_issued_total{level="full"} 14.0',
        "kgate_passport_key_age_seconds 60.0",
        'kgate_passport_keys{state="next"} 0.0',
        'kgate_passport_keys{state="previous"} 2.0',
    ):
        assert line in text
    assert 'kgate_issuer_keys_age_seconds{issuer="inline"}' not in text, "its keys are not fetched"


def test_conclusions_are_counted_also_over_a_restart_of_the_analysis():
    metrics = Metrics()
    for count in (2, 5, 1):
        metrics.levels({"conclusions": {"abuse.found": count}})
    assert 'kgate_conclusions_total{kind="abuse.found"} 6.0' in metrics.text().decode()


def test_what_abuse_guard_holds_and_leaves_out_is_shown() -> None:
    analyst = Analyst(b"s" * 16)
    metrics = Metrics()
    metrics.levels({"abuse-guard": dict(analyst.levels())})
    analyst.take([Outcome(*"rst", "404", "", "1", "5", "", "", "", "g=unknown.1..", "203.0.113.7")], 1e9)
    analyst.buckets.evicted = 7
    metrics.levels({"abuse-guard": dict(analyst.levels()), "conclusions": {}})
    text = metrics.text().decode()
    for figure, level in (
        ("buckets", 0), ("buckets_evicted", 7), ("blocks_held_back", 0), ("outcomes_of_unknown_configs", 1)
    ):  # fmt: skip
        assert f'kgate_abuse_guard{{figure="{figure}"}} {level}.0' in text


def test_what_nobody_was_asked_for_is_a_pass_all_the_same() -> None:
    """With the reason of its verdict; no worker has counted it."""
    found = Metrics()
    rows = [
        ROW._replace(memo="drawn=1 lease=canary_percent"),
        ROW._replace(memo="lease=canary_percent"),
        ROW._replace(memo="lease="),
        ROW._replace(memo="drawn=1"),
    ]
    for row in rows:
        found.outcomes(counts_of(row))
    text = found.text().decode()
    labels = 'plugin="",reason="{}",route="orders",tenant="food",verdict="pass"'
    assert f"kgate_requests_total{{{labels.format('canary_percent')}}} 2.0" in text
    assert f"kgate_requests_total{{{labels.format('')}}} 1.0" in text
    assert "kgate_leased_requests_total 3.0" in text
    outcomes = 'route="orders",source="service",status="2xx",tenant="food"'
    assert f"kgate_outcomes_total{{{outcomes}}} 4.0" in text
