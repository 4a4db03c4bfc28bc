"""What a connection's other side remembers: each verdict is sent once, and always the right one is named."""

from __future__ import annotations

import gc
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kong_plugins.engine.facts import Facts, Identity, parse_facts
from kong_plugins.engine.lasting import Lasting, Varied, join, lasting
from kong_plugins.engine.verdict import Verdict
from kong_plugins.server.leases import AGAIN_SECONDS, Given
from kong_plugins.server.told import SLOTS, Told


def facts(request: int = 1, tenant: str = "order", request_id: str = "", **more: str) -> Facts:
    name = request_id or f"{request:032x}"
    made = parse_facts([1, name, "192.0.2.1", "http", "GET", "h", "/", "/", "r", "s", tenant, "", ""])
    return made._replace(**more)  # type: ignore[arg-type]


def verdict(name: str) -> Lasting:
    who = Identity("https://issuer", name)
    return lasting(Verdict(service_headers=(("X-Passport", name),), memo=name, identity=who))


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


class Leases:
    """Gives each lease that is asked for, or none, with an epoch and a clock that a test moves."""

    def __init__(self) -> None:
        self.now, self.epoch, self.seconds = 50.0, 7, 10.0
        self.asked: list[tuple[Any, str, Facts, Verdict]] = []

    def clock(self) -> float:
        return self.now

    def give(self, holder: Any, chain: str, facts: Facts, verdict: Verdict) -> Given:
        self.asked.append((holder, chain, facts, verdict))
        until = self.now + (self.seconds or AGAIN_SECONDS)
        return Given(int(self.seconds * 1000), self.epoch, until)


HOLDER: Any = object()
BEAT = {"b": 7, "q": 0}


def answers(data: bytes) -> list[dict[str, Any]]:
    found = []
    while data:
        size = 4 + int.from_bytes(data[:4], "big")
        found.append(read(data[:size]))
        data = data[size:]
    return found


class Asker:
    """Asks on one connection with leases."""

    def __init__(self) -> None:
        self.leases = Leases()
        self.told = Told(self.leases, HOLDER)  # type: ignore[arg-type]
        self.number = 70_000

    def ask(self, one: Verdict, chain: str = "c", **more: Any) -> list[dict[str, Any]]:
        self.number += 1
        asked = facts(self.number, **more)
        if isinstance(one, Varied):
            return answers(self.told.varied_frame(one, asked, chain, 1, self.number))
        assert isinstance(one, Lasting)
        return answers(self.told.frame(one, asked, chain, 1, self.number))

    def short(self, slot: int = 0, **more: Any) -> dict[str, Any]:
        """The answer to the last question that says no more than the slot."""
        return {"r": slot, **more, "n": f"{self.number:032x}", "q": self.number}


def test_a_lease_is_told_with_the_verdict_and_a_beat_before_it() -> None:
    asker, one = Asker(), verdict("p1")
    beat, told = asker.ask(one)
    assert beat == BEAT
    assert (told["d"], told["m"], told["l"]) == (0, "p1", [10_000, 7])
    assert list(told)[-2:] == ["n", "q"]
    assert asker.leases.asked == [(HOLDER, "c", facts(70_001), one)]
    for _ in range(3):
        assert asker.ask(one) == [asker.short()]
    assert len(asker.leases.asked) == 1


@pytest.mark.parametrize("change", ["epoch", "time"])
def test_a_lease_that_is_over_is_given_again(change: str) -> None:
    asker, one = Asker(), verdict("p1")
    asker.ask(one)
    if change == "epoch":
        asker.leases.epoch = 8
    else:
        asker.leases.now += 10.0
    epoch = asker.leases.epoch
    beat, told = asker.ask(one)
    assert beat == {"b": epoch, "q": 0}
    assert told == asker.short(l=[10_000, epoch])
    assert list(told)[-2:] == ["n", "q"]
    assert asker.ask(one) == [asker.short()]
    asker.leases.now += 9.9
    assert asker.ask(one) == [asker.short()]
    assert len(asker.leases.asked) == 2


def test_a_verdict_without_a_lease_is_asked_about_again_after_a_while() -> None:
    asker, one = Asker(), verdict("p1")
    asker.leases.seconds = 0.0
    (first,) = asker.ask(one)
    assert first["d"] == 0
    assert "l" not in first
    for _ in range(3):
        assert asker.ask(one) == [asker.short()]
    asker.leases.now += AGAIN_SECONDS - 0.01
    assert asker.ask(one) == [asker.short()]
    assert len(asker.leases.asked) == 1
    asker.leases.now += 0.01
    assert asker.ask(one) == [asker.short()]
    assert len(asker.leases.asked) == 2
    assert asker.ask(one) == [asker.short()]
    assert len(asker.leases.asked) == 2
    asker.leases.now, asker.leases.seconds = asker.leases.now + AGAIN_SECONDS, 3.0
    assert asker.ask(one) == [BEAT, asker.short(l=[3_000, 7])]


def test_a_verdict_without_a_lease_is_asked_about_again_when_something_changed() -> None:
    asker, one = Asker(), verdict("p1")
    asker.leases.seconds = 0.0
    asker.ask(one)
    asker.leases.epoch, asker.leases.seconds = 8, 10.0
    assert asker.ask(one) == [{"b": 8, "q": 0}, asker.short(l=[10_000, 8])]


def test_in_the_pdk_lane_there_are_none() -> None:
    asker, one = Asker(), verdict("p1")
    for epoch in (7, 8):
        asker.leases.epoch = epoch
        assert all("l" not in each and "b" not in each for each in asker.ask(one, chain=""))
        assert asker.ask(one, chain="") == [asker.short()]
        asker.leases.now += 100.0
        assert asker.ask(one, chain="") == [asker.short()]
    assert asker.leases.asked == []


def test_of_nobody_there_are_none_and_one_slot_is_enough_for_all() -> None:
    asker, one = Asker(), lasting(Verdict(prepared="p1"))
    (first,) = asker.ask(one)
    assert (first["d"], "l" in first) == (0, False)
    for epoch, ip in ((7, "192.0.2.1"), (8, "192.0.2.2")):
        asker.leases.epoch = epoch
        assert asker.ask(one, ip=ip, route="another") == [asker.short()]
    assert asker.leases.asked == []


def test_without_a_holder_there_are_none() -> None:
    leases, one = Leases(), verdict("p1")
    told = Told(leases)  # type: ignore[arg-type]
    (found,) = answers(told.frame(one, facts(), "c", 1, 70_000))
    assert "l" not in found
    assert leases.asked == []


@pytest.mark.parametrize("request_id", ["r1", "0" * 33, "é" * 32])
def test_a_request_with_an_id_of_another_form_gets_none(request_id: str) -> None:
    asker, one = Asker(), verdict("p1")
    for _ in range(2):
        (found,) = answers(asker.told.frame(one, facts(request_id=request_id), "c", 1, 70_000))
        assert "l" not in found
    assert asker.leases.asked == []
    assert asker.ask(one)[1]["d"] == 0


def test_a_verdict_with_something_of_the_request_has_none() -> None:
    asker, one = Asker(), verdict("p1")
    for _ in range(2):
        (found,) = asker.ask(varied(one, memo="g=1"))
        assert "l" not in found
        asker.leases.now += 100.0
        asker.leases.epoch += 1
    assert asker.leases.asked == []


@pytest.mark.parametrize("varied_first", [False, True])
def test_a_verdict_with_something_of_the_request_does_not_take_the_lease_of_what_is_alike(
    varied_first: bool,
) -> None:
    """What the other side remembers in a slot has one lease: it would hold for it, too."""
    asker, one = Asker(), verdict("p1")
    parts = (varied(one, memo="g=1"), one)
    found = [asker.ask(each)[-1] for each in (parts if varied_first else reversed(parts))]
    assert {each["d"] for each in found} == {0, 1}
    assert [("l" in each) for each in found] == ([False, True] if varied_first else [True, False])


@pytest.mark.parametrize(
    "other", [{"ip": "192.0.2.2"}, {"route": "r2"}, {"service": "s2"}, {"tenant": "pay"}]
)
def test_the_same_verdict_for_others_has_a_lease_of_its_own(other: dict[str, str]) -> None:
    """An operator's allow is of an address, a breaker of a service or a route: a lease that one has, or has not, says
    nothing of the other's, though both get the same verdict."""
    asker, one = Asker(), verdict("p1")
    first = asker.ask(one)[-1]
    asker.leases.seconds = 0.0
    (second,) = asker.ask(one, **other)
    assert (first["d"], second["d"]) == (0, 1)
    assert "l" not in second
    assert [each[2].route for each in asker.leases.asked] == ["r", other.get("route", "r")]
    assert asker.ask(one, **other) == [asker.short(1)]
    assert asker.ask(one) == [asker.short()]
    asker.leases.seconds, asker.leases.epoch = 10.0, 8
    assert asker.ask(one, **other)[-1] == asker.short(1, l=[10_000, 8])
    assert asker.ask(one)[-1] == asker.short(l=[10_000, 8])


def test_what_differs_in_alike_requests_makes_no_other_lease() -> None:
    asker, one = Asker(), verdict("p1")
    asker.ask(one)
    assert asker.ask(one, path="/x", raw_path="/%78", traceparent="00-1-2-01") == [asker.short()]


def test_a_slot_that_another_verdict_took_is_told_with_a_new_lease() -> None:
    asker, one = Asker(), verdict("p1")
    asker.ask(one)
    for number in range(SLOTS):
        asker.ask(verdict(str(number)))
    beat, told = asker.ask(one)
    assert beat == BEAT
    assert (told["m"], told["l"]) == ("p1", [10_000, 7])
    assert asker.ask(one) == [asker.short(told["d"])]
