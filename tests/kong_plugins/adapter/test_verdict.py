"""What is taken for a verdict on this request."""

from __future__ import annotations

import pytest

from kong_plugins.engine.verdict import Verdict, to_wire

GOOD = {"v": 1, "n": "rid1"}


@pytest.mark.parametrize(
    ("record", "valid"),
    [
        (GOOD, True),
        (to_wire(Verdict(status=401, body="no", headers=(("A", "b"),), reason="r"), "rid1", "t"), True),
        (
            to_wire(Verdict(service_headers=(("X-Passport", "eyJ"),), upstream="u", memo="m"), "rid1", "t"),
            True,
        ),
        ({}, False),
        ({"v": 2, "n": "rid1"}, False),
        ({"v": "1", "n": "rid1"}, False),
        ({"v": 1}, False),
        ({"v": 1, "n": "rid2"}, False),
        ({**GOOD, "st": 99}, False),
        ({**GOOD, "st": 600}, False),
        ({**GOOD, "st": 401.5}, False),
        ({**GOOD, "st": "401"}, False),
        ({**GOOD, "h": ["odd"]}, False),
        ({**GOOD, "h": ["a", 1]}, False),
        ({**GOOD, "s": "text"}, False),
        ({**GOOD, "b": 1}, False),
        ({**GOOD, "u": 1}, False),
        ({**GOOD, "p": []}, False),
        ({**GOOD, "m": 1}, False),
        ({**GOOD, "tn": 1}, False),
        ({**GOOD, "rs": 1}, False),
        ({**GOOD, "a": 1}, False),
    ],
)
def test_form(world, record, valid):
    assert world.module("kgate.verdict").is_valid(world.table(record), b"rid1") is valid


@pytest.mark.parametrize("value", [None, b"text", 1, True])
def test_not_a_table(world, value):
    assert world.module("kgate.verdict").is_valid(value, b"rid1") is False


def test_an_empty_request_id_matches_nothing(world):
    assert world.module("kgate.verdict").is_valid(world.table({"v": 1, "n": ""}), b"") is False


@pytest.mark.parametrize(
    ("ids", "count", "complete"),
    [
        ([1, 2], 2, True),
        ([1], 2, False),
        ([1, 2, 3], 2, False),
        (["1", "2"], 2, False),
        (None, 1, False),
        ("12", 2, False),
    ],
)
def test_ids(world, ids, count, complete):
    assert world.module("kgate.verdict").has_ids(world.table(ids), count) is complete


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        *[({**GOOD, "e": each}, each) for each in ("no_state", "deadline", "filter_error", "bad_facts")],
        ({**GOOD, "e": "unanswered"}, "unanswered"),
        ({**GOOD, "e": "Traceback: /home"}, "no_verdict"),
        ({**GOOD, "e": ["no_state"]}, "no_verdict"),
        ({**GOOD, "e": "config"}, "no_verdict"),
        ({"v": 1, "n": "rid2", "e": "no_state"}, "no_verdict"),
        ({"e": "no_state"}, "no_verdict"),
        (GOOD, "no_verdict"),
        (None, "no_verdict"),
        ("no_state", "no_verdict"),
    ],
)
def test_the_client_gets_the_servers_reason_where_it_is_one_of_the_known(world, record, reason):
    found = world.module("kgate.verdict").reason(None if record is None else world.table(record), b"rid1")
    assert found == reason.encode()
