"""What a load balancer and Prometheus are told of the node, from what its workers have said."""

import json
from types import SimpleNamespace
from typing import Any

import pytest

from kong_plugins.server.keeping import Health
from kong_plugins.server.metrics import Metrics
from kong_plugins.server.probes import Probes

GOOD: dict[str, Any] = {"state": True, "without_keys": [], "missing_lists": [], "version": 7}
NOW = Health(degraded=False, age=0.1, version=7, blocks=0)


def probes(*stats: dict[str, Any], state: Health = NOW, wanted: int = 2) -> Probes:
    workers: list[Any] = [
        SimpleNamespace(stats=each, connections={"express": 3, "passport-direct": 1}) for each in stats
    ]
    return Probes(Metrics(), lambda: workers, lambda: state, wanted, ("express", "passport-direct"))


@pytest.mark.parametrize(
    ("stats", "problem"),
    [
        ([GOOD, GOOD], None),
        ([GOOD], "1 of 2 workers serve"),
        ([], "0 of 2 workers serve"),
        ([GOOD, {**GOOD, "state": False}], "the control state was never read"),
        ([GOOD, {}], "the control state was never read"),
        ([GOOD, {**GOOD, "without_keys": ["main"]}], "no key of issuer main"),
    ],
    ids=str,
)
def test_ready_is_a_node_whose_workers_all_have_state_and_keys(
    stats: list[dict[str, Any]], problem: str | None
) -> None:
    status, _, body = probes(*stats).readyz()
    told = json.loads(body)
    assert (status, told["ready"]) == ((200, True) if problem is None else (503, False))
    assert [text.startswith(problem) for text in told["problems"]] == [True] * (problem is not None)


def test_an_old_state_and_a_missing_list_are_warnings() -> None:
    """Were nodes taken out for them, the end of Redis would be the end of all."""
    old = Health(degraded=True, age=90, version=7, blocks=0)
    status, _, body = probes({**GOOD, "missing_lists": ["vip"]}, GOOD, state=old).readyz()
    first, second = json.loads(body)["warnings"]
    assert status == 200
    assert "list vip" in first
    assert "last confirmed 90 s ago" in second


def test_alive_is_a_node_with_one_worker_that_serves() -> None:
    assert probes(GOOD).healthz()[0] == 200
    assert probes().healthz()[0] == 503


def test_gauges_are_of_all_workers_and_the_version_is_the_slowest_ones() -> None:
    text = probes(GOOD, {**GOOD, "version": 5, "without_keys": ["main"]}).metrics()[2].decode()
    for line in (
        "kgate_workers 2.0",
        'kgate_connections{lane="express"} 6.0',
        'kgate_connections{lane="passport-direct"} 2.0',
        "kgate_issuers_without_keys 1.0",
        "kgate_state_version 5.0",
        "kgate_state_age_seconds 0.1",
    ):
        assert line in text.splitlines()
