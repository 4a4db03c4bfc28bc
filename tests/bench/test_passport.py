"""The bench runs, and says what the design rests on: a warm request costs less than any signature check."""

import json

import pytest

from bench import passport


def test_it_measures_every_algorithm(capsys: pytest.CaptureFixture[str]) -> None:
    assert passport.main(["--json", "--seconds", "0.005"]) == 0
    found = json.loads(capsys.readouterr().out)["algorithms"]
    assert [row["alg"] for row in found] == ["EdDSA", "ES256", "RS256", "HS256"]
    for row in found:
        assert row["ratios"]["raw_check"] == 1
        assert row["verify_cold"] > row["raw_check"] * 0.9
        if row["alg"] != "HS256":
            assert row["decide_warm"] < row["decide_cold"] / 2


def test_the_table_has_a_line_for_each_number() -> None:
    rows = [passport.Row("EdDSA", *range(1, 10))]
    assert len(passport.report(rows).splitlines()) == 10
