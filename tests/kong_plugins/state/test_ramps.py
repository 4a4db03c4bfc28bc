"""Ramps: the percent as a function of time, their clock, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kong_plugins.state import ramps
from kong_plugins.state.base import CanaryOverride
from kong_plugins.state.canaries import override_of, override_record
from kong_plugins.state.memory import MemoryStore
from kong_plugins.state.operations import canaries
from kong_plugins.state.ramps import Clock, clock_of, duration, held, make_points, percent_at, resumed

HOUR = 3600.0


@pytest.mark.parametrize(
    ("low", "high", "over", "holds", "points"),
    [
        (1, 50, 2 * HOUR, [], [[0, 1], [7200, 50]]),
        (0, 100, 1000, ["10%:30m"], [[0, 0], [100, 10], [1900, 10], [2800, 100]]),
        (10, 50, 400, ["10%:30m"], [[0, 10], [1800, 10], [2200, 50]]),
        (0, 50, 500, ["50%:1m"], [[0, 0], [500, 50], [560, 50]]),
        (0, 40, 400, ["10%:10s", "20%:20s"], [[0, 0], [100, 10], [110, 10], [210, 20], [230, 20], [430, 40]]),
    ],
)
def test_points(low: float, high: float, over: float, holds: list[str], points: Any) -> None:
    found = make_points(low, high, over, holds)
    assert found == [pytest.approx(point) for point in points]
    assert ramps.check_ramp({"points": found, "start": 0.0}) is not None


@pytest.mark.parametrize(
    ("low", "high", "over", "holds", "says"),
    [
        (50, 50, 60, [], "^to: "),
        (0, 101, 60, [], "^to: "),
        (0, 50, 0, [], "^over: "),
        (0, 50, 60, ["10:30m"], r"^hold\[0\]: "),
        (0, 50, 60, ["60%:30m"], r"^hold\[0\]: "),
        (0, 50, 60, ["20%:1m", "10%:1m"], r"^hold\[1\]: .*not above"),
        (0, 50, 60, ["1.2.3%:1m"], r"^hold\[0\]: "),
    ],
)
def test_bad_ramps(low: float, high: float, over: float, holds: list[str], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        make_points(low, high, over, holds)


POINTS = make_points(1, 50, 2 * HOUR, ["10%:30m"])


@pytest.mark.parametrize(
    ("seconds", "percent"),
    [
        (-1, 0), (0, 1), (2 * HOUR * 9 / 49, 10), (2 * HOUR * 9 / 49 + 1799, 10), (2.5 * HOUR, 50), (9e9, 50),
    ],
)  # fmt: skip
def test_percent_at(seconds: float, percent: float) -> None:
    assert percent_at(POINTS, seconds) == pytest.approx(percent)


@settings(deadline=None)
@given(st.floats(-100, 20_000), st.floats(-100, 20_000))
def test_it_never_falls(one: float, other: float) -> None:
    early, late = sorted((one, other))
    assert percent_at(POINTS, early) <= percent_at(POINTS, late)


@settings(deadline=None)
@given(st.lists(st.floats(1, 5000), min_size=1, max_size=8))
def test_a_clock_that_was_held_goes_on_where_it_stood(spans: list[float]) -> None:
    """Alternately it runs and stands still."""
    data: dict[str, Any] | None = None
    now = ran = 1000.0
    for number, span in enumerate(spans):
        now += span
        if number % 2:
            assert clock_of(data).at(now) == pytest.approx(ran)
            data = resumed(data, now)
        else:
            ran += span
            assert clock_of(data).at(now) == pytest.approx(ran)
            data = held(data, now)
    assert held(held(data, now), now + 5) == held(data, now), "a second pause changes nothing"


def test_a_clock_before_it_is_held() -> None:
    assert Clock(100.0, 5.0).at(90.0) == 85.0
    assert Clock(100.0, 5.0).at(190.0) == 95.0


@pytest.mark.parametrize(
    "data",
    [
        "x", {"steps": []}, {"held": "now"}, {"late": float("nan")}, {"points": [[0, 1], [5, 2]]},
        {"points": [[0, 1]], "start": 1}, {"points": [[0, 5], [5, 2]], "start": 1},
        {"points": [[1, 1], [5, 2]], "start": 1}, {"points": [[0, 1], [0, 2]], "start": 1},
        {"points": [[0, 1], [5, 101]], "start": 1}, {"points": [[0, 1], "ab"], "start": 1},
    ],
)  # fmt: skip
def test_data_that_cannot_be_worked_with_is_no_override(data: Any) -> None:
    record = override_record(CanaryOverride("v2"))
    with pytest.raises(ValueError, match="canary 'v2': ramp: "):
        override_of(record._replace(data={**record.data, "ramp": data}))


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("2h", 7200), ("7d", 604_800)])
def test_duration(text: str, seconds: float) -> None:
    assert duration(text) == seconds


@pytest.mark.parametrize("text", ["", "5", "-1m", "1w", "١m", None, 5])
def test_no_duration(text: Any) -> None:
    with pytest.raises(ValueError, match=r"^over: "):
        duration(text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("1970-01-02", 86_400), ("1970-01-01T01:00Z", 3600), ("1970-01-01T01:00+01:00", 0)],
)
def test_moment(text: str, seconds: float) -> None:
    assert ramps.moment(text) == seconds
    assert ramps.moment(ramps.moment_text(seconds)) == seconds


@pytest.mark.parametrize("text", ["", "tomorrow", None, 5])
def test_no_moment(text: Any) -> None:
    with pytest.raises(ValueError, match=r"^start: "):
        ramps.moment(text)


def test_a_bad_ramp_is_never_stored() -> None:
    store = MemoryStore()
    with pytest.raises(ValueError, match="ramp: expected a map"):
        canaries.update(store, "v2", {"ramp": {"steps": [1]}}, actor="kim")
    assert canaries.get(store, "v2") is None
