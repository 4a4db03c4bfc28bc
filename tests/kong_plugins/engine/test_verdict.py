"""Verdicts: effects add up, an exit stands alone, the wire holds no empty field."""

from typing import Any

import pytest

from kong_plugins.engine.facts import Identity
from kong_plugins.engine.problem import problem
from kong_plugins.engine.verdict import MEMO_LIMIT, PASS, Verdict, merge, to_wire, variation


def test_effects_of_two_filters_add_up() -> None:
    first = Verdict(service_headers=(("X-Passport", "p"),), identity=Identity("i", "alice"), memo="u")
    second = Verdict(service_headers=(("X-Canary", "c"),), upstream="new", arm="c=canary", memo="c")
    merged = merge([first, second])
    assert merged.service_headers == (("X-Passport", "p"), ("X-Canary", "c"))
    assert merged.upstream == "new"
    assert merged.arm == "c=canary"
    assert merged.memo == "u c"
    assert merged.identity == Identity("i", "alice")


def test_passing_changes_nothing() -> None:
    one = Verdict(upstream="u")
    assert merge([one]) is one
    assert merge([]) is PASS
    assert merge([one, PASS]) == one
    assert merge([PASS, one]) == one


def test_memos_are_bounded_by_whole_words_and_the_last_filters_stay() -> None:
    assert len(merge([Verdict(memo="a" * 200), Verdict(memo="b" * 400)]).memo) == MEMO_LIMIT
    long, permit = f"g=1 gu={'u' * 300} drawn=1", "b=abc:1700000000000:3:1700000030000000000"
    assert merge([Verdict(memo=long), Verdict(memo=permit)]).memo == f"g=1 drawn=1 {permit}"


def test_the_wire_of_an_exit() -> None:
    wire = to_wire(Verdict(status=401, body="{}", headers=(("A", "1"), ("A", "2")), reason="r"), "id", "t")
    assert wire == {"v": 1, "n": "id", "tn": "t", "st": 401, "b": "{}", "h": ["A", "1", "A", "2"], "rs": "r"}


def test_the_wire_of_effects_leaves_empty_fields_out() -> None:
    wire = to_wire(
        Verdict(service_headers=(("X", "1"),), upstream="u", prepared="h", memo="m", arm="a"), "id", ""
    )
    assert wire == {"v": 1, "n": "id", "s": ["X", "1"], "u": "u", "p": "h", "m": "m", "a": "a"}


def test_a_problem_is_an_uncacheable_exit_with_its_reason() -> None:
    found = problem(403, "ip_blocked", "No.", "req-1", (("X", "y"),))
    assert found.is_exit
    assert found.reason == "ip_blocked"
    assert ("Content-Type", "application/problem+json") in found.headers
    assert ("Cache-Control", "no-store") in found.headers
    assert ("X", "y") in found.headers
    assert '"request_id": "req-1"' in found.body


BASE = Verdict(None, "", (("A", "1"),), (("B", "2"),), "u", "p", "m", "r", "a", None, "", 3)


@pytest.mark.parametrize(
    ("change", "own"),
    [
        ({}, {}),
        ({"headers": (("A", "1"), ("RateLimit", "x"))}, {"h": ["A", "1", "RateLimit", "x"]}),
        ({"service_headers": (("B", "3"),)}, {"s": ["B", "3"]}),
        ({"upstream": "v"}, {"u": "v"}),
        ({"prepared": "q"}, {"p": "q"}),
        ({"memo": "g m"}, {"m": "g m"}),
        ({"reason": "s"}, {"rs": "s"}),
        ({"arm": "b"}, {"a": "b"}),
        ({"retries": 0}, {"rt": 0}),
        ({"identity": Identity("i", "alice"), "memo": "n"}, {"m": "n"}),
        ({"headers": ()}, None),
        ({"service_headers": ()}, None),
        ({"upstream": ""}, None),
        ({"memo": "", "arm": "b"}, None),
        ({"retries": None}, None),
    ],
)
def test_what_varies_stands_in_the_place_of_what_is_alike(
    change: dict[str, Any], own: dict[str, Any] | None
) -> None:
    changed = BASE._replace(**change)
    assert variation(changed, BASE) == own
    if own is not None:
        assert {**to_wire(BASE, "id", "t"), **own} == to_wire(changed, "id", "t")
