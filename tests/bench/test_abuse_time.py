"""The time bench decides what it says it does. The figures themselves are not judged here."""

from typing import Any

import pytest
from click.testing import CliRunner

from bench import abuse_time
from kong_plugins.abuse_guard.config import parse
from kong_plugins.abuse_guard.core import decide_identified, decide_stranger
from kong_plugins.engine.verdict import Verdict
from kong_plugins.state.base import State
from kong_plugins.state.cells import Cells
from kong_plugins.state.snapshot import empty_snapshot


@pytest.mark.parametrize("raw", abuse_time.CONFIGS.values(), ids=abuse_time.CONFIGS)
def test_every_pass_counts_and_admits(raw: dict[str, Any]) -> None:
    state = State(empty_snapshot(), None, {}, Cells.attach(Cells.create(4096)))  # type: ignore[arg-type]
    config = parse(raw)
    limits = {limit["key"][0] for limit in raw.get("limits", ())}
    for decide, parts in ((decide_stranger, limits - {"user"}), (decide_identified, limits & {"user"})):
        found = decide(abuse_time.request(7), config, state, abuse_time.NOW)
        assert found is None or (isinstance(found, Verdict) and found.status is None)
        told = dict(found.headers).get("RateLimit", "") if isinstance(found, Verdict) else ""
        assert told.count(";r=") == len(parts)


def test_a_tiny_run(monkeypatch: pytest.MonkeyPatch) -> None:
    row = abuse_time.measure({}, rounds=1, new_rounds=1, new=10)
    assert all(0 < each < 10_000 for each in row)
    monkeypatch.setattr(abuse_time, "measure", lambda _raw: row)
    shown = CliRunner().invoke(abuse_time.main, []).output
    assert all(name in shown for name in abuse_time.CONFIGS)
