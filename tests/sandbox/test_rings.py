"""How targets take turns."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.rings import Choice, Target, make_ring
from sandbox.xxhash32 import xxhash32

A, B, C = ("a", 1), ("b", 2), ("c", 3)


def picks(algorithm: str, n: int, *targets: Target, down: tuple = (), keys: bool = False) -> list:
    ring = make_ring(algorithm, targets, 10000)
    found = []
    for i in range(n):
        choice = Choice(hashed=f"k{i}" if keys else "")
        choice.address = ring.pick(choice, lambda address: address not in down)
        found.append(choice.address)
        ring.done(choice, 0.01, float(i + 1))
    return found


@pytest.mark.parametrize(("text", "value"), [("", 0x02CC5D05), ("a", 0x550D7456), ("abc", 0x32D153FF)])
def test_xxhash32(text: str, value: int) -> None:
    assert xxhash32(text.encode()) == value


@pytest.mark.parametrize(
    ("weights", "counts"),
    [((300, 100), (75, 25)), ((1, 99), (1, 99)), ((100, 0), (100, 0)), ((7, 7), (50, 50))],
)
def test_round_robin_follows_the_weights(weights: tuple[int, int], counts: tuple[int, int]) -> None:
    found = Counter(picks("round-robin", 100, Target(A, weights[0]), Target(B, weights[1])))
    assert (found[A], found[B]) == counts


def test_round_robin_is_even_and_may_give_the_same_target_again() -> None:
    assert picks("round-robin", 4, Target(A, 30), Target(B, 10)).count(B) == 1
    ring = make_ring("round-robin", [Target(A, 9), Target(B, 1)], 1000)
    choice = Choice()
    assert [ring.pick(choice, lambda a: True) for _ in range(10)].count(A) == 9


@pytest.mark.parametrize("algorithm", ["round-robin", "consistent-hashing", "least-connections", "latency"])
def test_targets_that_are_down_or_of_no_weight_are_not_used(algorithm: str) -> None:
    targets = (Target(A, 10), Target(B, 10), Target(C, 0))
    assert set(picks(algorithm, 20, *targets, down=(A,), keys=True)) == {B}
    assert set(picks(algorithm, 3, *targets, down=(A, B))) == {None}
    assert picks(algorithm, 1) == [None]


def test_a_key_stays_on_its_target_and_few_move_when_one_goes() -> None:
    targets = (Target(A, 100), Target(B, 100), Target(C, 100))
    before = picks("consistent-hashing", 200, *targets, keys=True)
    assert before == picks("consistent-hashing", 200, *reversed(targets), keys=True)
    after = picks("consistent-hashing", 200, *targets, down=(B,), keys=True)
    assert all(x == y for x, y in zip(before, after, strict=True) if x != B)
    assert min(Counter(before).values()) > 30


def test_where_kong_puts_keys() -> None:
    """Measured on Kong 3.9.3: the target of `user-0` to `user-9` on this ring."""
    hosts = [
        Target(("127.0.0.1", port), weight) for port, weight in ((22010, 100), (22011, 100), (22012, 50))
    ]
    ring = make_ring("consistent-hashing", hosts, 10000)
    found = [ring.pick(Choice(hashed=f"user-{i}"), lambda a: True) for i in range(10)]
    assert [address[1] - 22009 for address in found if address] == MEASURED


MEASURED = [2, 1, 2, 1, 2, 2, 1, 1, 1, 3]


def test_least_connections_avoids_what_is_busy_and_what_failed() -> None:
    ring = make_ring("least-connections", [Target(A, 100), Target(B, 100)], 1000)
    first, second = Choice(), Choice()
    first.address = ring.pick(first, lambda a: True)
    second.address = ring.pick(second, lambda a: True)
    assert {first.address, second.address} == {A, B}
    assert first.address
    first.failed.add(first.address)
    assert ring.pick(first, lambda a: True) == second.address


def test_latency_prefers_the_quick_one() -> None:
    ring = make_ring("latency", [Target(A, 100), Target(B, 100)], 1000)
    ring.done(Choice(address=A), 0.5, 1.0)
    ring.done(Choice(address=B), 0.1, 1.0)
    assert ring.pick(Choice(), lambda a: True) == B
    assert ring.pick(Choice(failed={B}), lambda a: True) == A


def test_an_unknown_algorithm() -> None:
    with pytest.raises(ValueError, match="algorithm"):
        make_ring("magic", [], 1000)


@given(st.lists(st.integers(0, 20), min_size=1, max_size=5))
def test_a_whole_turn_gives_each_its_weight(weights: list[int]) -> None:
    targets = [Target(("h", i), weight) for i, weight in enumerate(weights)]
    found = Counter(picks("round-robin", sum(weights), *targets))
    assert all(found[t.address] == t.weight for t in targets)
