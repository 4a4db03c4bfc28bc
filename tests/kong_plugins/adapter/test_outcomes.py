"""Outcome rows: one timer, one batch, resent once, and what is lost is counted."""

from __future__ import annotations

import msgpack
import pytest

from .peer import Scripted, framed

OK = {"answer": framed({"k": "ok"})}
AWAY = {"connect": "connection refused"}


def row(number=1):
    return [f"f{number}-{i}" for i in range(13)]


def add(world, count=1):
    outcomes = world.module("kgate.outcomes")
    for number in range(count):
        outcomes.add(b"/s", world.table(row(number)))


def timers(world):
    return [world.py(entry[1]) for entry in world.fake[b"timers"].values()]


def fire(world, index, premature=False):
    world.fake[b"timers"][index][2](premature)


def rows_of(packed):
    unpacker = msgpack.Unpacker()
    unpacker.feed(packed)
    return list(unpacker)


def batches(script):
    found = [msgpack.unpackb(message) for message in script.sent()]
    return [[*batch[:3], rows_of(batch[3])] for batch in found]


def test_one_timer_and_one_batch(world):
    script = Scripted(world, [OK, OK])
    add(world, 3)
    assert timers(world) == [0.1]
    fire(world, 1)
    (batch,) = batches(script)
    assert (batch[0], batch[2], batch[3]) == ("r", 0, [row(0), row(1), row(2)])
    add(world)
    assert timers(world) == [0.1, 0.1]
    fire(world, 2)
    assert batches(script)[1][1] != batch[1]


def test_batch_ids_differ_between_workers(make_world):
    ids = []
    for _ in range(2):
        world = make_world()
        script = Scripted(world, [OK])
        add(world)
        fire(world, 1)
        ids.append(batches(script)[0][1])
    assert ids[0] != ids[1]


def test_nothing_to_send_dials_nobody(world):
    script = Scripted(world, [])
    world.module("kgate.outcomes").flush(False)
    assert script.seen == []


def test_a_failed_batch_is_sent_again_under_its_id(world):
    script = Scripted(world, [{"end": "timeout"}, OK])
    add(world, 2)
    fire(world, 1)
    assert timers(world) == [0.1, 1]
    fire(world, 2)
    first, second = batches(script)
    assert first == second
    assert not world.py(world.fake[b"warnings"])


def test_a_batch_that_fails_twice_is_counted_as_dropped(world):
    script = Scripted(world, [AWAY, AWAY, OK, OK])
    add(world, 2)
    fire(world, 1)
    fire(world, 2)
    assert "2 outcomes dropped: connection refused" in world.py(world.fake[b"warnings"])[0]
    for index in (3, 4):
        add(world)
        fire(world, index)
    assert [batch[2] for batch in batches(script)] == [2, 0]


def test_a_thousand_rows_are_kept_the_rest_is_counted(world):
    script = Scripted(world, [OK])
    add(world, 1003)
    assert timers(world) == [0.1, 0]
    fire(world, 2)
    assert (len(batches(script)[0][3]), batches(script)[0][2]) == (1000, 3)


def test_a_busy_worker_does_not_wait(world):
    add(world, 499)
    assert timers(world) == [0.1]
    add(world, 2)
    assert timers(world) == [0.1, 0]


def test_without_a_timer_the_next_row_tries_again(world):
    world.fake[b"no_timers"] = True
    add(world)
    world.fake[b"no_timers"] = False
    add(world)
    script = Scripted(world, [OK])
    assert timers(world) == [0.1]
    fire(world, 1)
    assert len(batches(script)[0][3]) == 2


def test_at_a_workers_exit_there_is_no_second_try(world):
    Scripted(world, [AWAY])
    add(world)
    fire(world, 1, premature=True)
    assert timers(world) == [0.1]


@pytest.mark.parametrize("broken", [None, 5])
def test_an_error_stays_in_the_timer(world, broken):
    world.fake[b"dial"] = broken
    add(world)
    fire(world, 1)
    assert "outcomes" in world.py(world.fake[b"errors"])[0]
