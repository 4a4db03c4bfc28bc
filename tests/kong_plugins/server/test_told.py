"""What a connection's other side remembers: each verdict is sent once, and always the right one is named."""

from __future__ import annotations

import gc
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kong_plugins.engine.facts import Facts, parse_facts
from kong_plugins.engine.lasting import Lasting, Varied, join, lasting
from kong_plugins.engine.verdict import Verdict
from kong_plugins.server.told import SLOTS, Told


def facts(request: int = 1, tenant: str = "order", request_id: str = "") -> Facts:
    name = request_id or f"{request:032x}"
    return parse_facts([1, name, "192.0.2.1", "http", "GET", "h", "/", "/", "r", "s", tenant, "", ""])


def verdict(name: str) -> Lasting:
    return lasting(Verdict(service_headers=(("X-Passport", name),), memo=name))


def read(frame: bytes) -> dict[str, Any]:
    assert int.from_bytes(frame[:4], "big") == len(frame) - 4
    found: dict[str, Any] = msgpack.unpackb(frame[4:], unicode_errors="surrogateescape")
    return found


class Reader:
    """The other side, as docs/protocol.md has it."""

    def __init__(self) -> None:
        self.slots: dict[int, dict[str, Any]] = {}

    def read(self, frame: bytes) -> dict[str, Any]:
        found = read(frame)
        own = found.pop("x", {})
        if "r" in found:
            return {**self.slots[found["r"]], **own, "n": found["n"], "q": found["q"]}
        if "d" in found:
            slot = found.pop("d")
            assert 0 <= slot < SLOTS
            self.slots[slot] = found
        return {**found, **own}


def test_a_verdict_is_sent_once_and_then_named() -> None:
    told, one = Told(), verdict("p1")
    first = read(told.frame(one, facts(1), "c" * 32, 1, 70_000))
    assert first == {
        "v": 1,
        "tn": "order",
        "s": ["X-Passport", "p1"],
        "m": "p1",
        "ch": "c" * 32,
        "d": 0,
        "n": f"{1:032x}",
        "q": 70_000,
    }
    assert list(first)[-2:] == ["n", "q"]
    again = told.frame(one, facts(2), "c" * 32, 1, 70_001)
    assert read(again) == {"r": 0, "n": f"{2:032x}", "q": 70_001}
    assert len(again) == 55


@pytest.mark.parametrize(
    ("tenant", "chain", "protocol"),
    [("pay", "c" * 32, 1), ("order", "d" * 32, 1), ("order", "", 1), ("order", "c" * 32, 0)],
)
def test_for_another_tenant_chain_or_protocol_it_is_another_answer(
    tenant: str, chain: str, protocol: int
) -> None:
    told, one, reader = Told(), verdict("p1"), Reader()
    reader.read(told.frame(one, facts(1), "c" * 32, 1, 70_000))
    found = reader.read(told.frame(one, facts(2, tenant), chain, protocol, 70_001))
    assert (found["tn"], found.get("ch", ""), found["v"]) == (tenant, chain, protocol)


def varied(base: Lasting, **own: Any) -> Varied:
    found = join([Verdict(**own), base])
    assert isinstance(found, Varied)
    return found


def test_what_is_of_a_request_is_sent_beside_the_slot() -> None:
    told, one = Told(), verdict("p1")
    first = read(told.varied_frame(varied(one, headers=(("RateLimit", "9"),)), facts(1), "c", 1, 70_000))
    assert (first["d"], first["m"], first["x"]) == (0, "p1", {"h": ["RateLimit", "9"]})
    assert "h" not in first
    second = read(told.varied_frame(varied(one, memo="g=1"), facts(2), "c", 1, 70_001))
    assert second == {"r": 0, "x": {"m": "g=1 p1"}, "n": f"{2:032x}", "q": 70_001}
    assert read(told.frame(one, facts(3), "c", 1, 70_002)) == {"r": 0, "n": f"{3:032x}", "q": 70_002}


def test_what_lacks_something_of_its_base_is_sent_in_full() -> None:
    told, one = Told(), verdict("p1")
    other = varied(one)
    bare: Varied = tuple.__new__(Varied, (*other[:6], "", *other[7:]))
    bare.base = one
    found = read(told.varied_frame(bare, facts(), "c", 1, 70_000))
    assert (found["ch"], "m" in found, "d" in found) == ("c", False, False)


@pytest.mark.parametrize("request_id", ["r1", "0" * 33, "0" * 300, "\udcff" * 32, "é" * 32])
def test_an_id_of_another_form_gets_the_verdict_in_full(request_id: str) -> None:
    told, one = Told(), verdict("p1")
    for number in (70_000, 70_001):
        found = read(told.frame(one, facts(request_id=request_id), "", 1, number))
        assert (found["n"], found["m"], found["q"]) == (request_id, "p1", number)
        assert "d" not in found
        found = read(told.varied_frame(varied(one, memo="g"), facts(request_id=request_id), "", 1, number))
        assert (found["n"], found["m"], found["q"]) == (request_id, "g p1", number)
        assert not {"d", "r", "x"} & found.keys()


def test_of_more_verdicts_than_slots_the_oldest_go() -> None:
    told, reader = Told(), Reader()
    first = verdict("first")
    told.frame(first, facts(), "", 1, 70_000)
    for number in range(SLOTS):
        reader.read(told.frame(verdict(str(number)), facts(), "", 1, 70_000))
    assert "d" in read(told.frame(first, facts(), "", 1, 70_000))
    assert len(told._kept) == len(told._keys) == SLOTS


def test_another_process_that_is_handed_the_connection_tells_anew() -> None:
    before, after, reader = Told(), Told(), Reader()
    one, other = verdict("one"), verdict("other")
    for told, asked in ((before, one), (before, other), (after, other), (after, one), (after, other)):
        assert reader.read(told.frame(asked, facts(), "", 1, 70_000))["m"] == asked.memo


def test_another_verdict_at_the_same_place_in_memory_is_not_taken_for_the_one_before() -> None:
    told, reader = Told(), Reader()
    for number in range(3 * SLOTS):
        assert reader.read(told.frame(verdict(str(number)), facts(), "", 1, 70_000))["m"] == str(number)
        if not number % 500:
            gc.collect()


@given(
    st.lists(st.tuples(st.integers(0, 1500), st.sampled_from(["a", "b"])), max_size=60), st.integers(0, 2000)
)
def test_the_other_side_always_reads_what_was_decided(asked: list[tuple[int, str]], before: int) -> None:
    told, reader = Told(), Reader()
    verdicts = {number: verdict(str(number)) for number, _ in asked}
    for number in range(before % (SLOTS + 20)):
        reader.read(told.frame(verdict(f"x{number}"), facts(), "", 1, 70_000))
    for place, (number, tenant) in enumerate(asked):
        if number % 2:
            other = varied(verdicts[number], headers=(("RateLimit", str(place)),))
            found = reader.read(told.varied_frame(other, facts(place, tenant), "c", 1, 70_000 + place))
            assert found["h"] == ["RateLimit", str(place)]
        else:
            found = reader.read(told.frame(verdicts[number], facts(place, tenant), "c", 1, 70_000 + place))
            assert "h" not in found
        assert (found["m"], found["tn"], found["n"], found["q"]) == (
            str(number),
            tenant,
            f"{place:032x}",
            70_000 + place,
        )
