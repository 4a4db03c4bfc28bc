"""For how long canary-router's decision stands: without bound where a percentage of the users alone decides."""

from __future__ import annotations

from typing import Any

import pytest

from kong_plugins.canary_router.config import parse
from kong_plugins.canary_router.lease import lease
from kong_plugins.engine.facts import Facts, Identity
from kong_plugins.engine.lease import NONE, UNBOUNDED, Lease
from kong_plugins.state.base import CanaryOverride, State
from kong_plugins.state.snapshot import build

NOW = 1000.0
PLAN: dict[str, Any] = {"name": "v2", "upstream": "checkout-v2"}
FIXED = ("r1", "203.0.113.7", "https", "GET", "h", "/", "/", "r", "s", "t", "")
KIM = Facts(*FIXED, frozenset(), {}, Identity("https://a", "kim"), "v2=canary")
NOBODY = Facts(*FIXED, frozenset(), {}, None, "v2=control")
RAMP = {"from": 1, "to": 50, "start": "2030-01-31T18:00Z", "over": "2h"}


def of(plan: dict[str, Any], *overrides: CanaryOverride, facts: Facts = KIM) -> Lease:
    state = State(build(1, (), overrides), trust=None)  # type: ignore[arg-type]
    return lease(facts, parse({**PLAN, **plan}), state, NOW)


@pytest.mark.parametrize("facts", [KIM, NOBODY], ids=["kim", "nobody"])
@pytest.mark.parametrize(
    "plan", [{}, {"percent": 0}, {"percent": 50}, {"percent": 100, "salt": "s"}, {"abort_if": {}}]
)
def test_a_percentage_alone_stands_without_bound(plan: dict[str, Any], facts: Facts) -> None:
    assert of(plan, facts=facts) == UNBOUNDED


@pytest.mark.parametrize(
    "plan",
    [
        {"ramp": RAMP},
        {"paused": True, "percent": 50},
        {"users": ["kim"]},
        {"users_list": "staff"},
        {"cidrs": ["192.0.2.0/24"]},
        {"rules": [{"name": "beta", "percent": 10}]},
        {"device_cookie": "dev", "percent": 50},
    ],
    ids=lambda plan: next(iter(plan)),
)
def test_with_anything_else_there_is_none(plan: dict[str, Any]) -> None:
    assert of(plan) == NONE


@pytest.mark.parametrize("change", [{"percent": 10.0}, {"paused": True}, {"users": frozenset({"kim"})}])
@pytest.mark.parametrize("expires", [None, NOW + 5, NOW, NOW - 5])
def test_an_operators_word_leaves_none_also_when_it_has_ended(
    change: dict[str, Any], expires: float | None
) -> None:
    fields = {"percent": None, "users": None, "paused": False, **change}
    assert of({"percent": 50}, CanaryOverride("v2", **fields, expires=expires)) == NONE


def test_another_canarys_does_not_matter() -> None:
    assert of({"percent": 50}, CanaryOverride("v3", 10.0, None, False)) == UNBOUNDED
