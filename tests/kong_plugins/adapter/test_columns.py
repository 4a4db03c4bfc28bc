"""A batch of outcomes as columns: what the server reads is what was added, and what is alike goes out once."""

from __future__ import annotations

from typing import Any

import msgpack
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lupa.luajit21 import LuaError

from kong_plugins.engine.outcome import Outcome
from kong_plugins.server.columns import Batch, read_batch

from .conftest import World
from .peer import flat

KIND = ["route", "service", "tenant", "200", "502, 200", "2", "service", "reason", "arm", "memo"]
KNOWN, MISSES = 8, 64
"""How many kinds of a route are looked for, and after how many others these are chosen anew."""


def kind(number: int = 0, field: int = 9) -> list[str]:
    return [*KIND[:field], f"{KIND[field]}{number}", *KIND[field + 1 :]]


class Columns:
    """The module, and one route's kinds."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.module = world.module("kgate.columns")
        self.known = world.table({})

    def add(
        self, fields: Any = KIND, milliseconds: int = 1, address: Any = b"192.0.2.1", known: Any = None
    ) -> None:
        known = self.known if known is None else known
        self.module.add(known, self.world.table(fields), milliseconds, self.world.table(address))

    def packed(self) -> bytes:
        size, parts = self.module.take()
        packed = flat(parts)
        assert size == len(packed)
        return packed

    def take(self) -> Batch:
        return read_batch(self.packed())

    def places(self) -> tuple[int, list[int]]:
        """How many kinds went out, and of each outcome the place of its kind."""
        batch = self.take()
        return len(batch.kinds), list(batch.places)


@pytest.fixture
def columns(world: World) -> Columns:
    return Columns(world)


def test_the_form_that_is_documented(columns: Columns) -> None:
    columns.add(kind(1), 70_000, b"192.0.2.1")
    columns.add(kind(2), 3, b"2001:db8::1")
    columns.add(kind(1), 1023, b"")
    assert columns.module.count() == 3
    assert msgpack.unpackb(columns.packed()) == [
        [kind(1), kind(2)],
        b"\0\0\1\0\0\0",
        b"\x70\x11\1\0\3\0\0\0\xff\3\0\0",
        ["192.0.2.1", "2001:db8::1", ""],
    ]
    assert columns.module.count() == 0


def test_nothing_is_a_batch_too(columns: Columns) -> None:
    assert columns.take().outcomes() == []


@pytest.mark.parametrize("field", range(10))
def test_kinds_differ_by_each_field(columns: Columns, field: int) -> None:
    for number in (0, 1, 0, 1, 1):
        columns.add(kind(number, field))
    batch = columns.take()
    assert batch.kinds == [kind(0, field), kind(1, field)]
    assert list(batch.places) == [0, 1, 0, 1, 1]


def test_a_kind_is_copied_the_callers_table_is_filled_again(columns: Columns) -> None:
    fields = columns.world.table(kind(1))
    columns.module.add(columns.known, fields, 1, b"")
    fields[10] = b"another"
    columns.module.add(columns.known, fields, 1, b"")
    columns.add(kind(1))
    assert columns.places() == (2, [0, 1, 0])


def test_each_batch_has_its_own_kinds(columns: Columns) -> None:
    for number in (0, 1, 1):
        columns.add(kind(number))
    assert columns.places() == (2, [0, 1, 1])
    for number in (1, 1, 0):
        columns.add(kind(number))
    batch = columns.take()
    assert (batch.kinds, list(batch.places)) == ([kind(1), kind(0)], [0, 0, 1])


def test_routes_do_not_know_each_others_kinds(columns: Columns) -> None:
    other = columns.world.table({})
    columns.add(kind(0))
    columns.add(kind(0), known=other)
    columns.add(kind(0))
    columns.add(kind(0), known=other)
    assert columns.places() == (2, [0, 1, 0, 1])


def test_eight_kinds_of_a_route_are_known(columns: Columns) -> None:
    for number in [*range(KNOWN), *range(KNOWN)]:
        columns.add(kind(number))
    assert columns.places() == (KNOWN, [*range(KNOWN), *range(KNOWN)])
    assert len(columns.known) == KNOWN


def test_others_go_out_each_time_and_are_kept_nowhere(columns: Columns) -> None:
    for number in range(KNOWN):
        columns.add(kind(number))
    for number in (KNOWN, KNOWN, KNOWN + 1, 0, KNOWN - 1):
        columns.add(kind(number))
    places = [*range(KNOWN), KNOWN, KNOWN + 1, KNOWN + 2, 0, KNOWN - 1]
    assert columns.places() == (KNOWN + 3, places)
    assert len(columns.known) == KNOWN


def test_after_many_others_the_known_kinds_are_those_of_now(columns: Columns) -> None:
    for number in range(MISSES - 1):
        columns.add(kind(number))
    columns.take()
    columns.add(kind(1))
    columns.add(kind(1))
    assert columns.places() == (1, [0, 0]), "one of the first is still known"
    for _ in range(3):
        columns.add(kind(1000))
    assert columns.places() == (1, [0, 0, 0]), "the 64th other one is"
    assert len(columns.known) == 1
    for _ in range(2):
        for number in range(2, 2 + KNOWN - 1):
            columns.add(kind(number))
        columns.add(kind(1000))
    assert columns.places()[0] == KNOWN


def test_known_kinds_are_bounded_whatever_comes(columns: Columns) -> None:
    for number in range(1000):
        columns.add(kind(number))
        assert len(columns.known) <= KNOWN
    count, places = columns.places()
    assert (count, places) == (1000, list(range(1000)))


def test_as_many_places_as_a_batch_has_outcomes(columns: Columns) -> None:
    """Each is a kind of its own: of two bytes, up to outcomes.lua's limit."""
    for number in range(4000):
        columns.add(kind(number), number, str(number).encode())
    batch = columns.take()
    assert batch.kinds == [kind(number) for number in range(4000)]
    assert list(batch.places) == list(range(4000))
    assert batch.addresses == [str(number) for number in range(4000)]


EDGES = [0, 1, 255, 256, 257, 1023, 1024, 65535, 65536, 65537, (1 << 24) - 1, 1 << 24, (1 << 32) - 2]


def test_milliseconds_of_all_sizes(columns: Columns) -> None:
    for value in [*EDGES, (1 << 32) - 1, 1 << 32, 1 << 40]:
        columns.add(milliseconds=value)
    assert list(columns.take().milliseconds) == [*EDGES, *[(1 << 32) - 1] * 3]


@pytest.mark.parametrize("size", [0, 31, 32, 255, 256, 65535, 65536])
def test_texts_of_all_sizes(columns: Columns, size: int) -> None:
    fields = [*KIND[:9], "m" * size]
    columns.add(fields, address=b"a" * size)
    columns.add(address=b"b")
    batch = columns.take()
    assert batch.kinds == [fields, KIND]
    assert batch.addresses == ["a" * size, "b"]


@pytest.mark.parametrize("count", [15, 16, 17])
def test_headers_of_columns_of_all_sizes(columns: Columns, count: int) -> None:
    for number in range(count):
        columns.add(kind(number))
    assert columns.places() == (count, list(range(count)))


@pytest.mark.parametrize("field", range(10))
@pytest.mark.parametrize("value", [None, 5, True, []])
def test_what_is_no_text_leaves_nothing_behind(columns: Columns, field: int, value: Any) -> None:
    columns.add()
    fields = columns.world.table(KIND)
    fields[field + 1] = columns.world.table(value)
    with pytest.raises(LuaError):
        columns.module.add(columns.known, fields, 1, b"192.0.2.1")
    for address in (None, 5):
        with pytest.raises(LuaError):
            columns.add(kind(7), address=address)
    columns.add()
    columns.add(kind(7))
    assert columns.places() == (2, [0, 0, 1])


TEXT = st.binary(max_size=40).map(lambda text: text.decode("utf-8", "surrogateescape"))
OUTCOME = st.tuples(
    st.sampled_from("AB"),
    st.integers(0, 9) | st.integers(0, 200),
    st.integers(0, (1 << 32) - 1) | st.integers(0, 1100),
    TEXT,
    st.sampled_from([False] * 9 + [True]),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(OUTCOME, max_size=150), TEXT)
def test_what_was_added_is_what_the_server_reads(columns: Columns, added: list[Any], memo: str) -> None:
    known = {name: columns.world.table({}) for name in "AB"}
    expected: list[Outcome] = []
    for route, number, milliseconds, address, taken in added:
        fields = [route, *KIND[1:9], f"{memo}{number}"]
        columns.add(fields, milliseconds, address, known[route])
        expected.append(Outcome(*fields[:6], str(milliseconds), *fields[6:], address))
        if taken:
            assert columns.take().outcomes() == expected
            expected = []
    assert columns.take().outcomes() == expected
