"""The outage bench: its figures, and a short run."""

import asyncio
from pathlib import Path

import pytest

from bench import outage
from bench.outage import Answer, figures, misses, split


def test_figures() -> None:
    answers = [
        Answer(0, 0.001, 200, ""),
        Answer(0, 0.5, 200, "timeout"),
        Answer(0, 0.5, 504, ""),
        Answer(1, 0.002, 200, "open"),
    ]
    found = figures(answers)
    assert (found["requests"], found["answered"], found["real"], found["opened"]) == (4, 75.0, 25.0, 1)
    assert found["p99_ms"] == 500
    parts = split(answers)
    assert (parts["opened_after_s"], parts["before"]["requests"], parts["open"]["p99_ms"]) == (1, 3, 2)


def test_what_was_missed_is_told() -> None:
    good = {"real": 100, "opened": 0}
    times = {"answered": 100, "before": {"p99_ms": 599}, "open": {"p99_ms": 9}, "opened_after_s": 1.0}
    pack = {"calm": good, "errors": good, "after": good, "outage": times}
    assert misses({"pack": pack}, 0.5) == []
    bad = {"calm": {"real": 99.8}, "after": good, "errors": {"opened": 1}}
    late = {"answered": 99, "before": {"p99_ms": 700}, "open": {}, "opened_after_s": None}
    assert len(misses({"pack": {**bad, "outage": late}}, 0.5)) == 5


@pytest.mark.chaos
def test_a_short_outage(tmp_path: Path) -> None:
    lengths = {"calm": 2.0, "errors": 2.0, "outage": 5.0, "after": 2.0}
    report = asyncio.run(outage.run("", "", tmp_path / "run", tmp_path, 40, lengths, 0.3))
    assert report["pack"]["outage"]["answered"] == 100
    assert report["pack"]["outage"]["opened_after_s"] < 4
    assert report["pack"]["errors"]["opened"] == 0
    assert report["plain"]["outage"]["answered"] < 10
    # until it opens the service holds as many as without it
    assert report["pack"]["outage"]["held"] <= report["plain"]["outage"]["held"] + 1
