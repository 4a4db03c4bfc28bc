"""Lasting verdicts: alike in everything, and merged once."""

import gc

import pytest

from kong_plugins.engine import lasting as lastings
from kong_plugins.engine.lasting import MAX_JOINED, Lasting, Varied, join, lasting
from kong_plugins.engine.verdict import PASS, Verdict, merge

PASSPORT = Verdict(service_headers=(("X-Passport", "p"),))
CANARY = Verdict(service_headers=(("X-Canary", "c=control"),), arm="c=control", memo="drawn=1")


def test_it_is_the_verdict_that_it_was_made_of() -> None:
    one = lasting(CANARY)
    assert one == CANARY
    assert isinstance(one, Verdict)
    assert one.arm == "c=control"


def test_with_another_field_it_is_a_verdict_of_one_request() -> None:
    assert type(lasting(CANARY)._replace(memo="b=1")) is Verdict


def test_the_same_verdicts_are_merged_once() -> None:
    parts = [lasting(PASSPORT), lasting(CANARY)]
    merged = join(parts)
    assert merged == merge([PASSPORT, CANARY])
    assert type(merged) is Lasting
    assert join(list(parts)) is merged
    assert join([parts[1], parts[0]]) == merge([CANARY, PASSPORT]), "their order counts"
    assert join([parts[0]]) is parts[0]
    assert join([]) is PASS


@pytest.mark.parametrize("place", [0, 1, 2])
def test_one_of_the_request_alone_makes_it_varied(place: int) -> None:
    kept = [lasting(PASSPORT), lasting(CANARY)]
    parts: list[Verdict] = [*kept]
    parts.insert(place, Verdict(memo=f"g={place}"))
    first, second = join(parts), join(parts)
    assert first == second == merge(parts)
    assert first is not second
    assert isinstance(first, Varied)
    assert isinstance(second, Varied)
    assert first.base is second.base is join(kept)
    assert type(first._replace(memo="")) is Verdict


def test_with_nothing_lasting_it_is_a_verdict_of_one_request() -> None:
    assert type(join([PASSPORT, CANARY])) is Verdict
    assert type(join([PASSPORT])) is Verdict


def test_another_verdict_at_the_same_place_in_memory_is_not_taken_for_the_one_before() -> None:
    canary = lasting(CANARY)
    for number in range(3_000):
        passport = lasting(Verdict(service_headers=(("X-Passport", str(number)),)))
        assert join([passport, canary]).service_headers[0] == ("X-Passport", str(number))
        del passport
        if not number % 500:
            gc.collect()


def test_what_is_kept_is_bounded() -> None:
    canary = lasting(CANARY)
    for number in range(MAX_JOINED + 10):
        join([lasting(Verdict(memo=str(number))), canary])
    assert 0 < len(lastings._joined) <= MAX_JOINED
