"""Facts: only a well-formed record of a served protocol becomes facts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kong_plugins.engine.facts import PROTOCOL, Facts, FactsError, Identity, parse_facts

FIXED = [
    PROTOCOL,
    "r1",
    "203.0.113.9",
    "https",
    "GET",
    "shop.example",
    "/a b",
    "/a%20b",
    "checkout",
    "order",
    "food",
    "00-ab",
    "",
]


def test_every_field_has_its_place() -> None:
    facts = parse_facts([*FIXED[:12], "cookie,accept", "cookie", "a=1", "user-agent", "x"])
    assert facts == Facts(
        request_id="r1",
        ip="203.0.113.9",
        scheme="https",
        method="GET",
        host="shop.example",
        path="/a b",
        raw_path="/a%20b",
        route="checkout",
        service="order",
        tenant="food",
        traceparent="00-ab",
        truncated=frozenset({"cookie", "accept"}),
        headers={"cookie": "a=1", "user-agent": "x"},
    )
    assert facts.identity is None


@pytest.mark.parametrize("protocol", [PROTOCOL, PROTOCOL - 1])
def test_this_protocol_and_the_one_before_are_served(protocol: int) -> None:
    assert parse_facts([protocol, *FIXED[1:]]).request_id == "r1"


@pytest.mark.parametrize(
    ("record", "complaint"),
    [
        ([], "0 fields"),
        (FIXED[:-1], "12 fields"),
        ([*FIXED, "name-without-value"], "14 fields"),
        ([PROTOCOL + 1, *FIXED[1:]], "protocol 2"),
        (["1", *FIXED[1:]], "protocol '1'"),
        ([True, *FIXED[1:]], "protocol True"),
        ([*FIXED[:5], None, *FIXED[6:]], "NoneType"),
        ([*FIXED, "name", b"bytes"], "bytes"),
        ([*FIXED, "name", ["list"]], "list"),
    ],
)
def test_a_record_that_no_adapter_sends_is_refused(record: list[object], complaint: str) -> None:
    with pytest.raises(FactsError, match=complaint):
        parse_facts(record)


@given(
    st.lists(
        st.one_of(st.none(), st.integers(), st.text(max_size=5), st.binary(max_size=3), st.just([])),
        max_size=20,
    )
)
def test_any_list_is_facts_or_a_facts_error(record: list[object]) -> None:
    try:
        facts = parse_facts(record)
    except FactsError:
        return
    assert isinstance(facts.path, str)


@pytest.mark.parametrize(
    ("method", "headers", "expected"),
    [
        ("OPTIONS", {"origin": "https://a", "access-control-request-method": "GET"}, True),
        ("OPTIONS", {"origin": "https://a"}, False),
        ("OPTIONS", {"access-control-request-method": "GET"}, False),
        ("GET", {"origin": "https://a", "access-control-request-method": "GET"}, False),
    ],
)
def test_a_preflight_is_what_fetch_says(method: str, headers: dict[str, str], expected: bool) -> None:
    facts = parse_facts(FIXED)._replace(method=method, headers=headers)
    assert facts.is_preflight is expected


def test_the_same_subject_of_two_issuers_is_two_users() -> None:
    assert Identity("a", "alice").key != Identity("b", "alice").key
