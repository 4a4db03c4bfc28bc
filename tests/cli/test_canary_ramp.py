"""kgate canary ramp, show with both arms, why with rules, and lint of what was forgotten; against a real Redis."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from decl import lint
from decl.build import build
from decl.lint import OPTIONS
from decl.lint.rules import forgotten_canary_override
from decl.lint.view import State
from decl.load import Text, load
from decl.tenants import expand
from kong_plugins.canary_router.config import parse
from kong_plugins.canary_router.core import limit_at
from kong_plugins.server.metrics import Metrics
from kong_plugins.state.base import CanaryOverride
from kong_plugins.state.operations import canaries
from tests.http_stub import answering

NAME = "checkout-v2"
RAMP = ["--from", "1", "--to", "50", "--over", "2h", "--hold", "10%:30m"]


def stored(kgate: Any) -> CanaryOverride:
    found = canaries.get(kgate.store, NAME)
    assert found is not None
    return found


def plan() -> dict[str, Any]:
    document = yaml.safe_load(Path("gateway.yaml").read_text())
    config: dict[str, Any] = document["services"][0]["plugins"][0]["config"]
    return config


def set_plan(**changes: Any) -> None:
    document = yaml.safe_load(Path("gateway.yaml").read_text())
    plugins = document["services"][0]["plugins"]
    plugins[0]["config"] |= changes
    del plugins[1:]  # `on:` does not survive PyYAML
    Path("gateway.yaml").write_text(yaml.safe_dump(document))


def test_a_ramp_is_set_paused_resumed_and_ended_by_a_percent(kgate: Any, shop_dir: Path) -> None:
    said = kgate.ok("canary", "ramp", NAME, *RAMP, "--reason", "it is time")
    assert said.startswith(f"{NAME}: running, ramp 1% to 50%, users of the plan, version 1")
    ramp = stored(kgate).ramp
    assert ramp is not None
    assert ramp["start"] == pytest.approx(kgate.store.now(), abs=30)
    assert [round(percent) for _, percent in ramp["points"]] == [1, 10, 10, 50]
    assert "(paused since 2" in kgate.ok("canary", "ramp", NAME, "--pause")
    held = stored(kgate).ramp
    assert held is not None
    assert held["held"] >= ramp["start"]
    assert "paused" not in kgate.ok("canary", "ramp", NAME, "--resume")
    assert kgate.ok("canary", "set", NAME, "--percent", "3").startswith(f"{NAME}: running, 3%, ")
    assert stored(kgate).ramp is None
    assert kgate.kinds() == ["canary.ramp", "canary.ramp.pause", "canary.ramp.resume", "canary.set"]


def test_a_start_in_the_past_has_risen_already(kgate: Any, shop_dir: Path) -> None:
    start = (datetime.now(UTC) - timedelta(hours=9)).isoformat()
    kgate.ok("canary", "ramp", NAME, *RAMP, "--start", start)
    assert "now: 50% of the users" in kgate.ok("canary", "show", NAME).splitlines()
    assert "  ramp 1% to 50%, now 50%, arrived" in kgate.ok("canary", "show", NAME).splitlines()
    (answer,) = kgate.json("canary", "why", NAME, "--user", "u1")["answers"]
    assert "5000" in answer["why"]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ([], "a ramp needs --to and --over; or give --pause or --resume"),
        (["--to", "50", "--over", "2 hours"], "--over: '2 hours' is not"),
        (["--to", "5", "--over", "2h", "--hold", "10%:30m"], "--hold[0]: '10%:30m' is not"),
        (["--from", "9", "--to", "5", "--over", "2h"], "--to: 5 is not more than from (9)"),
        (["--to", "5", "--over", "2h", "--start", "noon"], "--start: 'noon' is not a moment"),
        (["--to", "5", "--over", "2h", "--pause"], "--pause goes with no other change of the ramp"),
    ],
)
def test_wrong_use(kgate: Any, shop_dir: Path, options: list[str], says: str) -> None:
    assert kgate.refused(2, "canary", "ramp", NAME, *options).startswith(says)


def test_there_must_be_a_ramp_to_pause(kgate: Any, shop_dir: Path) -> None:
    said = kgate.refused(1, "canary", "ramp", NAME, "--pause")
    assert said == f"canary {NAME} has no ramp that could be paused"
    kgate.refused(4, "canary", "ramp", "chekout", *RAMP)


PLANNED = {"percent": None, "ramp": {"from": 0, "to": 100, "start": "2020-01-01T00:00Z", "over": "1h"}}


@pytest.mark.parametrize("pause", [["ramp", NAME, "--pause"], ["pause", NAME], ["set", NAME, "--pause"]])
def test_the_plans_ramp_stands_still_and_goes_on(kgate: Any, shop_dir: Path, pause: list[str]) -> None:
    start = datetime.now(UTC) - timedelta(minutes=30)
    set_plan(percent=None, ramp={**PLANNED["ramp"], "start": start.isoformat()})  # type: ignore[dict-item]
    config = parse({key: value for key, value in plan().items() if key != "cidrs"})
    kgate.ok("canary", *pause)
    now = kgate.store.now()
    before = limit_at(config, stored(kgate), now)
    assert before == pytest.approx(5000, abs=60)
    assert limit_at(config, stored(kgate), now + 1200) == before
    resume = ["ramp", NAME, "--resume"] if pause[0] == "ramp" else ["resume", NAME]
    kgate.ok("canary", *resume)
    found = stored(kgate)
    assert not found.paused
    assert limit_at(config, found, now) == pytest.approx(before, abs=60)
    assert limit_at(config, found, now + 3000) == 10_000


def test_a_pause_without_a_ramp_leaves_none(kgate: Any, shop_dir: Path) -> None:
    kgate.ok("canary", "pause", NAME)
    assert stored(kgate).ramp is None


def test_promote_writes_the_ramp_into_the_plan(kgate: Any, shop_dir: Path) -> None:
    kgate.ok("canary", "ramp", NAME, *RAMP, "--start", "2030-01-31T18:00Z")
    kgate.ok("canary", "promote", NAME, "--write")
    config = plan()
    assert config["ramp"] == {
        "from": 1.0, "to": 50.0, "over": "2h", "hold": ["10%:30m"], "start": "2030-01-31T18:00:00Z",
    }  # fmt: skip
    assert config["percent"] == 0
    ramp = stored(kgate).ramp
    assert ramp is not None
    made = parse(config).ramp
    assert made is not None
    assert (made.start, [list(point) for point in made.points]) == (ramp["start"], ramp["points"])
    assert kgate.ok("canary", "promote", NAME).startswith("the files say already")


def test_promote_of_a_percent_takes_the_plans_ramp_away(kgate: Any, shop_dir: Path) -> None:
    set_plan(**PLANNED)
    kgate.ok("canary", "set", NAME, "--percent", "20")
    assert "-      ramp:" in (diff := kgate.ok("canary", "promote", NAME, "--write")) or "ramp" in diff
    assert (plan()["percent"], plan()["ramp"]) == (20, None)


def test_a_late_ramp_of_the_plan_is_late_once_when_it_is_promoted(kgate: Any, shop_dir: Path) -> None:
    start = datetime.now(UTC) - timedelta(minutes=30)
    set_plan(percent=None, ramp={**PLANNED["ramp"], "start": start.isoformat()})  # type: ignore[dict-item]
    now = kgate.store.now()
    data = {"ramp": {"points": None, "start": None, "held": None, "late": 600.0, "plan": None}}
    canaries.update(kgate.store, NAME, data, actor="kim", ttl=3600)
    config = parse({key: value for key, value in plan().items() if key != "cidrs"})
    before, end = limit_at(config, stored(kgate), now), stored(kgate).expires
    kgate.ok("canary", "promote", NAME)
    later = parse({key: value for key, value in plan().items() if key != "cidrs"})
    for each, override in ((config, stored(kgate)), (later, stored(kgate)), (later, None)):
        assert limit_at(each, override, now) == pytest.approx(before, abs=20)
    assert stored(kgate).expires == pytest.approx(end, abs=2)
    assert kgate.ok("canary", "promote", NAME).startswith("the files say already")


def test_promote_refuses_a_ramp_that_stands_still(kgate: Any, shop_dir: Path) -> None:
    kgate.ok("canary", "ramp", NAME, *RAMP)
    kgate.ok("canary", "ramp", NAME, "--pause")
    assert "is paused" in kgate.refused(4, "canary", "promote", NAME)


# show


@pytest.fixture
def node() -> Iterator[str]:
    """A node's metrics, as the plugin server writes them."""
    metrics = Metrics()
    arms = {"canary": (50, 3, 6.0, 81.0), "control": (450, 2, 0.444, 40.0), "pinned": (0, 0, 0.0, None)}
    metrics.levels(
        {
            "canary-router": {
                f"{NAME} {arm} {figure}": value
                for arm, values in arms.items()
                for figure, value in zip(
                    ("requests", "errors", "error_percent", "p95_ms"), values, strict=True
                )
                if value is not None
            }
        }
    )

    with answering(lambda _request: (200, metrics.text())) as url:
        yield url.removeprefix("http://")


def test_show_tells_both_arms_and_where_it_differs(kgate: Any, shop_dir: Path, node: str) -> None:
    kgate.ok("canary", "set", NAME, "--percent", "10", "--users", "amy")
    lines = kgate.ok("canary", "show", NAME, "--metrics", node).splitlines()
    assert "now: 10% of the users" in lines
    assert any(line.startswith("differs from the plan: 5% -> 10% since 2") for line in lines)
    assert any(line.startswith("differs from the plan: 2 pinned users -> 1 since 2") for line in lines)
    assert lines[-2:] == [
        "canary: 50 requests (10.0%), 3 errors (6%), p95 81 ms",
        "control: 450 requests (90.0%), 2 errors (0.444%), p95 40 ms",
    ]
    found = kgate.json("canary", "show", NAME, "--metrics", node)
    assert found["arms"]["arms"]["canary"]["errors"] == 3
    assert found["shares"] == [10.0]
    assert len(found["differs"]) == 2


def test_show_of_a_canary_without_requests_and_a_node_that_is_away(kgate: Any, shop_dir: Path) -> None:
    lines = kgate.ok("canary", "show", NAME, "--metrics", "127.0.0.1:9").splitlines()
    assert lines[-2] == "no requests in the last minute"
    assert "127.0.0.1:9/metrics does not answer" in lines[-1]


@pytest.mark.parametrize(
    ("rules", "who", "arm", "why"),
    [
        ([{"name": "qa", "users": ["zoe"]}], ["--user", "zoe"], "canary", "rule qa of the plan (canary_user)"),
        ([{"users": ["zoe"], "upstream": "cart-v2"}, {"name": "rest", "deny": 404}], ["--user", "bob"],
         "denied", "rule rest of the plan (not_found)"),
        ([{"name": "out", "users": ["zoe"], "control": True}], ["--user", "zoe"], "control", "rule out of the plan"),
        ([{"percent": 100}], ["--user", "zoe"], "canary", "rule rule-1 of the plan (canary_percent)"),
    ],
)  # fmt: skip
def test_why_names_the_rule(
    kgate: Any, shop_dir: Path, rules: list[Any], who: list[str], arm: str, why: str
) -> None:
    set_plan(rules=rules)
    (answer,) = kgate.json("canary", "why", NAME, *who)["answers"]
    assert (answer["arm"], why in answer["why"]) == (f"{NAME}={arm}", True), answer


def test_why_of_a_device(kgate: Any, shop_dir: Path) -> None:
    set_plan(device_cookie="kgate_device", percent=100)
    (answer,) = kgate.json("canary", "why", NAME, "--ip", "203.0.113.7")["answers"]
    assert "the device's cookie decides" in answer["why"]


# lint


@pytest.mark.parametrize(("days", "hits"), [(0, 0), (7, 0), (8, 1), (400, 1)])
def test_lint_of_an_override_that_was_forgotten(shop_dir: Path, days: int, hits: int) -> None:
    loaded = load([Text("gateway.yaml", Path("gateway.yaml").read_bytes())])
    changed = datetime(2026, 3, 1, 12, tzinfo=UTC) - timedelta(days=days)
    state = State({NAME: changed.timestamp(), "gone": changed.timestamp()}, {})
    view = lint.View(expand(build(loaded.document)), None, loaded.sources, "2026-03-01", state, OPTIONS)
    found = list(forgotten_canary_override.check(view))
    assert len(found) == 2 * hits
    if hits:
        assert f"canary '{NAME}' is overridden for {days} days: kgate canary promote" in found[0].message
        assert found[0].path[:1] == ("services",)
        assert found[1].path == ()


# diff and status


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (["--percent", "5", "--users", "kim,lee"], []),
        (["--percent", "10"], ["5% -> 10% since 2"]),
        (["--pause", "--users-list", "beta"], ["paused since 2", "users -> the list beta since 2"]),
    ],
)
def test_diff_and_status_tell_where_an_override_differs_and_since_when(
    kgate: Any, shop_dir: Path, capsys: pytest.CaptureFixture[str], change: list[str], says: list[str]
) -> None:
    from cli import canary_drift
    from decl.project import open_project

    if "--users-list" in change:
        (shop_dir / "beta.txt").write_text("kim\n")
        kgate.ok("list", "import", "beta.txt", "--name", "beta", "--kind", "users")
    kgate.ok("canary", "set", NAME, *change)
    gateway = open_project([Text("gateway.yaml", Path("gateway.yaml").read_bytes())], {}).gateway
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KGATE_NAMESPACE", kgate.namespace)
        found = canary_drift.overridden(gateway, kgate.url)
        assert canary_drift.overridden(gateway, None) == {}
        assert canary_drift.overridden(gateway, "redis://127.0.0.1:9/0") == {}
    assert "overrides are not known" in capsys.readouterr().err
    lines = canary_drift.lines(found)
    assert len(lines) == len(says)
    for line, start in zip(lines, says, strict=True):
        assert line.startswith(f"canary {NAME} is overridden: {start}")


def test_status_has_them(kgate: Any, shop_dir: Path) -> None:
    """The node is away, the override is told all the same."""
    kgate.ok("canary", "set", NAME, "--percent", "10")
    found = kgate.json("status", code=1)
    assert list(found["canaries"]) == [NAME]
    assert f"canary {NAME} is overridden: 5% -> 10% since 2" in kgate("status").stdout
