"""Every block that a scenario makes ends: there is no `ttl` without an end, and none is left out."""

import math
from typing import Any

import pytest

from kong_plugins.abuse_guard import shipped
from kong_plugins.abuse_guard.config import Config, parse
from kong_plugins.abuse_guard.scenario import Scenario
from tests.kong_plugins.abuse_guard.site import SIMPLE, Site

DAY = 86_400
MOST = 30 * DAY
PLAIN = {field: value for field, value in SIMPLE.items() if field != "ttl"}


def scenario_of(raw: dict[str, Any]) -> Scenario:
    config: Config = parse({"scenarios": [raw]})
    assert config.scenarios is not None
    (item,) = config.scenarios.items
    return item


@pytest.mark.parametrize("field", ["ttl", "max_ttl"])
@pytest.mark.parametrize("value", [0, 0.5, -1, MOST + 1, math.inf, math.nan, 1e308, "600", "never", True, []])
def test_a_time_that_does_not_end_is_refused(field: str, value: Any) -> None:
    with pytest.raises(ValueError, match=rf"^scenarios\[0\]\.{field}: expected a number from 1 to "):
        parse({"scenarios": [{**PLAIN, field: value}]})


@pytest.mark.parametrize("missing", [{}, {"ttl": None}, {"max_ttl": None}])
def test_a_missing_time_has_a_default(missing: dict[str, Any]) -> None:
    item = scenario_of({**PLAIN, **missing})
    assert (item.ttl, item.max_ttl) == (600, DAY)
    (block,) = Site({**PLAIN, **missing}).send(4)
    assert block.ttl is not None
    assert 540 <= block.ttl <= 660


@pytest.mark.parametrize("ttl", [1, 600, DAY, MOST])
def test_the_bounds_themselves_are_taken(ttl: int) -> None:
    assert scenario_of({**PLAIN, "ttl": ttl}).ttl == ttl


def test_offences_without_end_make_no_block_without_end() -> None:
    site = Site({**SIMPLE, "ttl": MOST, "factor": 100, "max_ttl": MOST})
    for turn in range(80):
        ttl = site.send(4, now=1_700_000_000.0 + 100 * turn)[0].ttl
        assert ttl is not None
        assert 0 < ttl <= 1.1 * MOST


@pytest.mark.parametrize("name", shipped.SCENARIOS)
def test_what_is_shipped_says_how_long(name: str) -> None:
    assert "ttl" in shipped.SCENARIOS[name], "written down, not left to the default"
    item = scenario_of({"use": name})
    assert 60 <= item.ttl <= item.max_ttl <= DAY
