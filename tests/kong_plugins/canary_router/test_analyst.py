"""The analyst: what counts as a failure, the sequential test, aborts, and what nodes tell each other."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kong_plugins.canary_router.analyst import QUIET, CanaryAnalyst
from kong_plugins.canary_router.config import DRAWN, parse
from kong_plugins.canary_router.core import decide
from kong_plugins.canary_router.counts import (
    Arm,
    Seen,
    Stratum,
    bucket_of,
    milliseconds_of,
    percentile,
    seen_of,
)
from kong_plugins.canary_router.sequential import EPOCH, RATIOS, Comparison
from kong_plugins.engine.analyst import Conclusion
from kong_plugins.engine.facts import Facts
from kong_plugins.engine.outcome import Outcome
from kong_plugins.state.base import CanaryOverride, State
from kong_plugins.state.canaries import override_of
from kong_plugins.state.cells import Cells
from kong_plugins.state.records import Record
from kong_plugins.state.snapshot import build, empty_snapshot


def outcome(arm: str = "canary", status: str = "200", **fields: str) -> Outcome:
    usual = Outcome(
        "t", "s", "", status, status, "1", "20", "service", "", f"v2={arm}", f"{DRAWN}=1", "203.0.113.7"
    )
    return usual._replace(**fields)


NO_TARGET = {"status": "503", "upstream_status": "", "tries": "0", "source": "exit", "milliseconds": "1"}


@pytest.mark.parametrize(
    ("fields", "seen"),
    [
        ({}, Seen(False, 20.0)),
        ({"status": "404", "upstream_status": "404"}, Seen(False, 20.0)),
        ({"status": "500", "upstream_status": "500"}, Seen(True)),
        ({"status": "200", "upstream_status": "502, 200"}, Seen(False, 20.0)),
        ({"status": "200", "upstream_status": "502", "source": "error"}, Seen(True)),
        ({"status": "502", "upstream_status": "502, 504 : 502"}, Seen(True)),
        ({"status": "503", "upstream_status": "", "source": "error", "tries": "0"}, Seen(True)),
        (NO_TARGET, Seen(True, None, True)),
        ({**NO_TARGET, "status": "200", "reason": "no_target"}, Seen(True, None, True)),
        ({**NO_TARGET, "status": "418"}, None),
        ({**NO_TARGET, "source": "kgate"}, None),
        ({"status": "499", "upstream_status": "-"}, None),
        ({"milliseconds": "x"}, Seen(False)),
    ],
)
def test_what_an_outcome_says_of_the_backend(fields: dict[str, str], seen: Seen | None) -> None:
    assert seen_of(outcome(**fields)) == seen


@settings(deadline=None)
@given(st.floats(0, 1e9))
def test_latency_buckets(milliseconds: float) -> None:
    bound = milliseconds_of(bucket_of(milliseconds))
    assert milliseconds <= bound * 1.0001 or bound > 1e7
    assert bound <= max(1.0, milliseconds * 1.0906)


def test_what_has_no_arm_does_not_concern_it() -> None:
    made = CanaryAnalyst()
    assert all(made.concerned(outcome(arm)) for arm in ("canary", "control", "lab"))
    assert not made.concerned(outcome()._replace(arm=""))
    assert made.take([outcome(**NO_TARGET)._replace(arm="")] * 50, 1.0) == made.tick(12.0) == []


def test_percentile() -> None:
    assert percentile({}, 0.95) is None
    assert percentile({10: 95, 20: 5}, 0.95) == milliseconds_of(10)
    assert percentile({10: 94, 20: 6}, 0.95) == milliseconds_of(20)


# the test


def hypergeometric(good: int, drawn: int, failed: int) -> dict[int, float]:
    from math import comb

    both = good + drawn
    return {
        k: comb(drawn, k) * comb(good, failed - k) / comb(both, failed)
        for k in range(max(0, failed - good), min(drawn, failed) + 1)
    }


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 60), st.integers(1, 60), st.data())
def test_one_stratum_of_two_equal_arms_is_worth_one_at_most(canary: int, control: int, data: Any) -> None:
    """The exact mean over all ways in which the failures can fall: what the guarantee rests on."""
    failed = data.draw(st.integers(0, canary + control))
    mean = 0.0
    for mine, chance in hypergeometric(control, canary, failed).items():
        test = Comparison()
        test.add(0.0, canary, mine, control, failed - mine)
        mean += chance * test.evidence
    assert mean <= 0.5 + 1e-9, "half of alpha is spent on a test that begins at once"


def test_both_arms_down_are_no_evidence() -> None:
    test = Comparison()
    for second in range(600):
        test.add(float(second), 50, 50, 450, 450)
    assert test.evidence < 1


def test_a_change_after_a_good_day_is_found() -> None:
    test, dice = Comparison(), random.Random(1)
    now = 0.0
    while now < 86_400:
        test.add(now, 500, 2, 4500, 22)
        now += 10
    assert test.evidence < 1
    seconds = 0
    while test.evidence < 1e5:
        failed = sum(dice.random() < 0.025 for _ in range(50))
        test.add(now + seconds, 50, failed, 450, sum(dice.random() < 0.005 for _ in range(450)))
        seconds += 1
    assert seconds < 60


def test_it_stays_finite() -> None:
    test = Comparison()
    for second in range(100):
        test.add(second * EPOCH, 10_000, 10_000, 10_000, 0)
    assert 1e290 < test.evidence < float("inf")
    for second in range(100, 300):
        test.add(second * EPOCH, 10_000, 0, 10_000, 10_000)
    assert 0 <= test.evidence < len(RATIOS)


# the analyst


def analyst(**abort_if: Any) -> CanaryAnalyst:
    made = CanaryAnalyst()
    made.configure([parse({"name": "v2", "upstream": "v2", "percent": 10, "abort_if": abort_if})])
    return made


def feed(
    made: CanaryAnalyst, seconds: int, failing: dict[str, float], begin: int = 0, **fields: str
) -> tuple[list[Conclusion], float]:
    """Seconds of 100 requests/s, a fifth of them the canary's; what follows, and when."""
    dice = random.Random(7)
    for tenth in range(begin * 10, (begin + seconds) * 10):
        rows = []
        for n in range(10):
            arm = "canary" if n < 2 else "control"
            status = "500" if dice.random() < failing[arm] else "200"
            rows.append(outcome(arm, status, **({} if arm == "control" else fields)))
        found = made.take(rows, tenth / 10) + made.tick(tenth / 10 + 0.05)
        if found:
            return found, tenth / 10
    return [], 0.0


def test_more_errors_than_control_abort_with_the_numbers() -> None:
    (found,), when = feed(analyst(), 120, {"canary": 0.1, "control": 0.005})
    assert when < 30
    assert (found.kind, found.subject, found.collection, found.key) == (
        "canary.abort",
        "v2",
        "canaries",
        "v2",
    )
    assert found.reason.startswith("error_difference: ")
    assert found.numbers["canary"]["error_percent"] > 5 > found.numbers["control"]["error_percent"]
    assert found.numbers["evidence_errors"] >= 1e5
    assert found.data is not None
    assert override_of(Record("canaries", "v2", found.data, version=1)).aborted


@pytest.mark.parametrize("failing", [0.0, 0.005, 0.3, 1.0])
def test_what_fails_in_both_arms_aborts_nothing(failing: float) -> None:
    made = analyst(latency_ratio=1.2)
    assert feed(made, 60, {"canary": failing, "control": failing}) == ([], 0.0)


def test_a_sure_but_small_difference_is_allowed() -> None:
    made = analyst(error_difference=20)
    assert feed(made, 60, {"canary": 0.1, "control": 0.005}) == ([], 0.0)
    assert made.figures()["v2"]["evidence_errors"] > 1e5


def test_few_samples_are_not_enough() -> None:
    assert feed(analyst(min_samples=100_000), 30, {"canary": 1.0, "control": 0.0}) == ([], 0.0)


def test_absolute_errors() -> None:
    (found,), when = feed(analyst(errors=5, min_samples=1_000_000), 60, {"canary": 0.1, "control": 0.1})
    assert found.reason.endswith("errors in 60 s, 5 are the limit")
    assert when < 20


def test_errors_of_pinned_users_count_absolutely_alone() -> None:
    pinned = {"canary": 1.0, "control": 0.0}
    assert feed(analyst(), 30, pinned, memo="") == ([], 0.0)
    (found,), _ = feed(analyst(errors=50), 30, pinned, memo="")
    assert found.numbers["pinned"]["errors"] >= 50


def test_a_slow_release_aborts() -> None:
    none = {"canary": 0.0, "control": 0.0}
    (found,), _ = feed(analyst(latency_ratio=1.5), 90, none, milliseconds="45")
    assert found.reason.startswith("latency_ratio: p95 4")
    assert feed(analyst(latency_ratio=3), 60, none, milliseconds="45") == ([], 0.0)
    assert feed(analyst(), 60, none, milliseconds="45") == ([], 0.0)


def test_the_first_request_without_a_target_aborts_at_once() -> None:
    made = analyst()
    assert made.take([outcome("control", **NO_TARGET)], 1.0) == [], "control has none: no fault of the canary"
    (found,) = made.take([outcome(), outcome(**NO_TARGET), outcome(**NO_TARGET)], 1.0)
    assert found.reason.startswith("no_target: ")
    assert made.take([outcome(**NO_TARGET)], 2.0) == [], "what was under way"


def test_after_a_reset_it_may_abort_again() -> None:
    made = analyst()
    assert made.take([outcome(**NO_TARGET)], 1.0)
    assert made.take([outcome("control")], 1.0 + QUIET) == []
    assert made.take([outcome(**NO_TARGET)], 1.0 + QUIET)


def test_other_arms_and_other_canaries_do_not_count() -> None:
    made = analyst()
    rows = [outcome(**NO_TARGET)._replace(arm=arm) for arm in ("v2=test", "v3=canary", "", "canary")]
    assert made.take(rows, 1.0) == []
    assert made.figures()["v2"]["canary"]["requests"] == 0


def through_json(told: Any) -> Any:
    return json.loads(json.dumps(told))


def test_two_nodes_see_together_what_one_alone_does_not() -> None:
    one, two, alone = analyst(), analyst(), analyst()
    dice, found = random.Random(3), []
    for tenth in range(600):
        now = tenth / 10
        for made in (one, two):
            rows = [
                outcome(arm, "500" if dice.random() < (0.06 if arm == "canary" else 0.005) else "200")
                for arm in ["canary", *["control"] * 4]
            ]
            if made is one:
                found += [("alone", now, each) for each in alone.take(rows, now) + alone.tick(now)]
            found += [("both", now, each) for each in made.take(rows, now) + made.tick(now)]
        for source, target, name in ((one, two, "one"), (two, one, "two")):
            told = source.tell(now)
            if told is not None:
                found += [("both", now, each) for each in target.merge(name, through_json(told), now)]
        if any(who == "both" for who, _, _ in found):
            break
    assert [who for who, _, _ in found] == ["both"], "the other is told, and says nothing"
    assert one.tell(now) is not None


def test_a_node_says_once_what_it_counted() -> None:
    made = analyst()
    made.take([outcome() for _ in range(30)] + [outcome("control") for _ in range(30)], 0.0)
    made.tick(1.0)
    told = made.tell(1.0)
    assert told is not None
    ((number, wire),) = told["strata"]["v2"]
    assert number == 1000, "numbers go on after a restart"
    stratum = Stratum.of(through_json(wire), 0.0)
    assert (stratum.canary.requests, stratum.control.requests) == (30, 30)
    assert stratum.canary.latencies == {bucket_of(20): 30}
    assert made.tell(1.1) is None


@pytest.mark.parametrize(
    "told",
    [
        {}, {"strata": 5}, {"strata": {"v2": 5}}, {"strata": {"v2": [5]}}, {"strata": {"v2": [[1, 2, 3]]}},
        {"strata": {"v2": [[1, [[1, 2, 0, 0, []]] * 3]]}}, {"strata": {"v2": [[1, [[-1, -2, 0, 0, []]] * 3]]}},
        {"strata": {"v2": [[1, [[10**12, 0, 0, 0, []]] * 3]]}},
        {"strata": {"v2": [[1, [[1, 0, 0, 0, [1]]] * 3]]}}, {"strata": {"v2": [["1", [[1, 0, 0, 0, []]] * 3]]}},
        {"strata": {"v2": [[10**30, [[1, 0, 0, 0, []]] * 3]]}},
        {"strata": {"v9": [[1, [[1, 0, 0, 0, []]] * 3]]}}, {"aborted": 7}, {"aborted": [["v2"], None, "v9"]},
    ],
)  # fmt: skip
def test_what_another_node_tells_is_not_believed_blindly(told: Any) -> None:
    made = analyst()
    assert made.merge("other", told, 1.0) == []
    assert made.figures()["v2"]["canary"]["requests"] == 0


def test_a_lost_message_is_made_good_by_the_next_and_nothing_counts_twice() -> None:
    one, two = analyst(), analyst()
    messages = []
    for step in range(3):
        one.take([outcome() for _ in range(30)] + [outcome("control") for _ in range(30)], step)
        one.tick(step + 0.6)
        messages.append(through_json(one.tell(step + 0.6)))
    for told in (messages[0], messages[2], messages[2], messages[0]):
        two.merge("one", told, 3.0)
    assert two.figures()["v2"]["canary"]["requests"] == 90
    two.merge("three", messages[0], 3.0)
    assert two.figures()["v2"]["canary"]["requests"] == 120


def seen(*overrides: CanaryOverride) -> Any:
    return build(1, (), overrides)


def test_an_abort_of_an_operator_or_another_node_is_seen_and_so_is_the_reset() -> None:
    made = analyst()
    made.see(seen(CanaryOverride("v2", aborted=True)), 0.0)
    assert made.take([outcome(**NO_TARGET)], QUIET + 1) == [], "it is given up already"
    made.see(seen(CanaryOverride("v2", 5.0)), QUIET + 2)
    (found,) = made.take([outcome(**NO_TARGET)], QUIET + 3)
    assert found.data == {"aborted": True}, "the operator's percent stays"
    made.see(seen(CanaryOverride("v2", 5.0)), QUIET + 3)
    assert made.take([outcome(**NO_TARGET)], QUIET + 4) == [], "a state from before the abort is no reset"


def test_levels_for_metrics() -> None:
    made = analyst()
    feed(made, 5, {"canary": 0.0, "control": 0.0})
    levels = made.levels()
    assert levels["v2 control requests"] > 300
    assert levels["v2 canary errors"] == 0
    assert levels["v2 canary p95_ms"] == pytest.approx(20, rel=0.1)


def test_the_window_forgets() -> None:
    made = analyst()
    feed(made, 5, {"canary": 0.0, "control": 0.0})
    assert made.figures()["v2"]["control"]["requests"] > 300
    made.tick(5.1)
    made.tick(1000.0)
    assert made.figures()["v2"]["control"] == {
        "requests": 0,
        "errors": 0,
        "error_percent": 0.0,
        "p95_ms": None,
    }


def test_configure_keeps_what_stays() -> None:
    made = analyst()
    feed(made, 5, {"canary": 0.0, "control": 0.0})
    seen = made.figures()["v2"]["control"]["requests"]
    plan = {"name": "v2", "upstream": "v2", "abort_if": {}}
    made.configure([parse(plan), parse({**plan, "name": "v3"})])
    assert made.figures()["v2"]["control"]["requests"] == seen
    made.configure([parse({**plan, "abort_if": {"errors": 1}})])
    assert made.figures()["v2"]["control"]["requests"] == 0
    assert list(made.figures()) == ["v2"]


def test_the_newest_plan_has_the_limits() -> None:
    plans = [
        {"name": "v2", "upstream": "v2", "abort_if": each} for each in ({"errors": 1}, {"errors": 9}, None)
    ]
    made = CanaryAnalyst()
    for count, aborts in ((1, True), (2, False), (3, False)):
        made.configure([parse(plan) for plan in plans[:count]])
        found, _ = feed(made, 3, {"canary": 0.05, "control": 0.0})
        assert bool(found) is aborts


def test_strata_after_a_new_beginning_are_heard() -> None:
    one, two = analyst(), analyst()
    for second in (10.0, 20.0):
        one.take([outcome() for _ in range(30)] + [outcome("control") for _ in range(30)], second)
        one.tick(second + 1)
        two.merge("one", through_json(one.tell(second + 1)), second + 1)
        one.configure([])
        one.configure([parse({"name": "v2", "upstream": "v2", "abort_if": {}})])
    assert two.figures()["v2"]["canary"]["requests"] == 60


def test_evidence_of_before_does_not_abort_what_is_well_now() -> None:
    made = analyst(latency_ratio=1.5)

    class Sure(Comparison):
        evidence = 1e9  # type: ignore[assignment]

    made._canaries["v2"].errors = made._canaries["v2"].latency = Sure()
    assert feed(made, 20, {"canary": 0.0, "control": 0.0}) == ([], 0.0)


def test_an_arm_on_the_wire() -> None:
    arm = Arm()
    for milliseconds in (1.0, 20.0, 500.0):
        arm.add(Seen(False, milliseconds), 100.0)
    arm.add(Seen(True), 100.0)
    assert Arm.of(through_json(arm.wire())) == arm
    assert (arm.requests, arm.failed, arm.timed, arm.slow) == (4, 1, 3, 1)


def test_a_plan_that_was_taken_back_has_its_limits_again() -> None:
    """The analysis hears of each config once: what is in use, requests say."""
    old, new = (parse({"name": "v2", "upstream": "v2", "abort_if": {"errors": n}}) for n in (5, 500))
    made = CanaryAnalyst()
    made.configure([old])
    made.configure([old, new])

    def failed(config: Any, now: float, count: int = 6) -> list[Conclusion]:
        rows = [outcome(status="500", memo=f"drawn={config.limits_tag}") for _ in range(count)]
        return [*made.take(rows, now), *made.tick(now + 11)]

    assert failed(new, 100.0) == []
    assert failed(old, 101.0) == [], "the last of a worker that has not changed over"
    assert failed(new, 112.0) == []
    assert [found.reason[:8] for found in failed(old, 200.0)] == ["errors: "]


def test_a_rules_own_upstream_without_a_target_sends_its_users_to_control() -> None:
    rule = {"name": "lab", "cidrs": ["0.0.0.0/0"], "upstream": "lab"}
    config = parse({"name": "v2", "upstream": "v2", "rules": [rule]})
    cells = Cells.attach(Cells.create())
    made = CanaryAnalyst(cells)
    made.configure([config])
    facts = Facts("r1", "10.0.0.1", "https", "GET", "h", "/", "/", "t", "s", "", "", frozenset(), {})

    def arm(now: float) -> str:
        state = State(empty_snapshot(), None, {}, cells)  # type: ignore[arg-type]
        return decide(facts, config, state, now).arm

    assert arm(100.0) == "v2=lab"
    lab = outcome("lab", **NO_TARGET)
    assert [found.kind for found in made.take([lab, lab], 100.0)] == ["canary.no_target"]
    assert arm(101.0) == "v2=control"
    assert arm(111.0) == "v2=lab", "one tries again"
    assert made.take([lab], 111.0) == [], "it is known"


def test_levels_of_a_canary_that_nobody_asks_for_end() -> None:
    made = analyst()
    made.take([outcome()], 100.0)
    made.tick(112.0)
    assert made.levels()
    made.tick(112.0 + 3600)
    assert made.levels() == {}
