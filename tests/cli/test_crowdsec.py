"""CrowdSec's decisions."""

from __future__ import annotations

import json

import pytest

from cli import crowdsec


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("4h", 14_400),
        ("3h59m57.5s", 14_397.5),
        ("-1m2s", -62),
        ("167h", 601_200),
        ("1.5ms", 0.0015),
        ("0s", 0),
        ("4d", 345_600),
        ("1d2h", 93_600),
    ],
)
def test_durations_as_go_writes_them(text: str, seconds: float) -> None:
    assert crowdsec.duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "4", "h", "d", "4h ", "1h-2m", "٣h", "1w"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="duration: "):
        crowdsec.duration(text)


@pytest.mark.parametrize(
    ("document", "says"),
    [
        ({"a": 1}, "not a list"),
        ([1], "not a list"),
        ([{"a": 1}], "neither decisions nor"),
        ([{"decisions": [1]}], "no object"),
    ],
)
def test_what_is_no_list_of_decisions(document: object, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        crowdsec.read(json.dumps(document), 0.0)


def test_none_is_none() -> None:
    assert crowdsec.read("null", 0.0) == (("target,reason,expires",), 0)


def decision(**fields: object) -> dict[str, object]:
    return {"duration": "1h", "scope": "Ip", "type": "ban", "value": "203.0.113.7", **fields}


@pytest.mark.parametrize(
    "other",
    [
        {"scope": "AS", "value": "64500", "type": "ban"},
        decision(scope="Country", value="XX", duration="for ever"),
        decision(type="captcha", duration=None),
        decision(simulated=True, duration=""),
        decision(duration="-2m3s"),
    ],
)
def test_what_is_left_out_need_not_be_whole(other: dict[str, object]) -> None:
    found = crowdsec.read(json.dumps([other, decision()]), 1000.0)
    assert found.lines[1:] == ("203.0.113.7,crowdsec: ban,4600.0",)
    assert found.skipped == 1


def test_a_ban_without_a_time_is_named() -> None:
    with pytest.raises(ValueError, match=r"^203\.0\.113\.8: duration: 'soon'"):
        crowdsec.read(json.dumps([decision(), decision(value="203.0.113.8", duration="soon")]), 0.0)


@pytest.mark.parametrize(
    ("values", "taken"),
    [
        (["198.51.100.5/24"], "198.51.100.0/24"),
        (["2001:db8::1/32"], "2001:db8::/32"),
        (["2001:db8::1", "2001:DB8:0::1"], "2001:db8::1"),
        (["198.51.100.0/24", "198.51.100.9/24"], "198.51.100.0/24"),
        (["nonsense"], "nonsense"),  # what it cannot be is told by the import, as of every list
    ],
)
def test_one_target_is_one_row_however_it_is_spelt(values: list[str], taken: str) -> None:
    rows = [decision(value=value, duration=f"{n}h", type="Ban") for n, value in enumerate(values, 1)]
    found = crowdsec.read(json.dumps([{"decisions": rows}]), 0.0)
    assert found.lines[1:] == (f"{taken},crowdsec: ban,{3600.0 * len(values)}",)


@pytest.mark.parametrize("hours", [(1, 9, 4), (9, 1, 4), (4, 1, 9)])
def test_of_several_decisions_the_one_that_lasts_longest_is_taken(hours: tuple[int, ...]) -> None:
    rows = [decision(duration=f"{each}h", scenario=f"of {each}") for each in hours]
    found = crowdsec.read(json.dumps(rows), 0.0)
    assert [line.rpartition(",")[0].partition(",")[2] for line in found.lines[1:]] == ["crowdsec: of 9"]
    assert found.lines[1].endswith(f",{9 * 3600.0}")
