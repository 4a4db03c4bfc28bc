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
    ],
)
def test_durations_as_go_writes_them(text: str, seconds: float) -> None:
    assert crowdsec.duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "4", "h", "1d", "4h ", "1h-2m", "٣h"])
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
