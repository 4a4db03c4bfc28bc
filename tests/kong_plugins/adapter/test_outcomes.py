"""Outcomes: one timer that stays, batches, a batch resent once, and what is lost is counted."""

from __future__ import annotations

from pathlib import Path

import msgpack
import pytest
from lupa.luajit21 import LuaError

from kong_plugins.engine.outcome import Outcome
from kong_plugins.server.columns import read_batch

from .peer import Scripted, framed

OK = {"answer": framed({"k": "ok"})}
AWAY = {"connect": "connection refused"}


FIELDS = ["route", "service", "tenant", "200", "200", "1", "service", "reason", "arm", "memo"]


def add(world, count=1):
    outcomes, known, fields = world.module("kgate.outcomes"), world.table({}), world.table(FIELDS)
    for number in range(count):
        outcomes.add(b"/s", known, fields, number, f"198.51.100.{number % 256}".encode())


def outcome(number):
    return Outcome(*FIELDS[:6], str(number), *FIELDS[6:], f"198.51.100.{number % 256}")


THREADS = (Path(__file__).parent / "threads.lua").read_bytes()


@pytest.fixture
def make_world(make_world):
    """Worlds with light threads and timers, in simulated time; the sockets are the scripts'."""

    def make(*args):
        world = make_world(*args)
        dialled = world.run("return ngx.socket.tcp")
        world.threads = world.lua.execute(THREADS, world.fake)
        world.run("ngx.socket.tcp = ...", dialled)
        return world

    return make


@pytest.fixture
def world(make_world):
    return make_world("express")


def run(world, seconds=0.0):
    world.threads[b"run"](seconds)


def started(world):
    """How many timers were started so far."""
    return len(world.threads[b"threads"])


def raw(script):
    return [msgpack.unpackb(message) for message in script.sent()]


def batches(script):
    """The outcomes of a batch in place of its columns."""
    return [[*batch[:3], read_batch(batch[3]).outcomes()] for batch in raw(script)]


def test_outcomes_go_out_together_a_tenth_of_a_second_later(world):
    script = Scripted(world, [OK])
    add(world, 3)
    run(world, 0.09)
    assert script.seen == []
    run(world, 0.02)
    (batch,) = batches(script)
    assert (batch[0], batch[2], batch[3]) == ("c", 0, [outcome(0), outcome(1), outcome(2)])
    assert len(raw(script)[0]) == 4


def test_one_timer_for_many_batches(world):
    script = Scripted(world, [OK] * 50)
    for _ in range(50):
        add(world)
        run(world, 0.5)
    found = batches(script)
    assert (len(found), started(world)) == (50, 1)
    assert len({batch[1] for batch in found}) == 50


def test_an_idle_timer_ends_and_the_next_one_starts_one(world):
    script = Scripted(world, [OK] * 2)
    add(world)
    run(world, 6)
    assert world.threads[b"alive"]() == 0
    add(world)
    run(world, 0.1)
    assert (len(batches(script)), started(world), world.threads[b"alive"]()) == (2, 2, 1)


def test_a_timer_gives_way_to_a_new_one(world):
    """What nginx allocates for a timer's connections is freed with the timer alone."""
    script = Scripted(world, [OK] * 450)
    for _ in range(450):
        add(world)
        run(world, 0.2)
    assert (len(batches(script)), started(world), world.threads[b"alive"]()) == (450, 3, 1)


def test_batch_ids_differ_between_workers(make_world):
    ids = []
    for _ in range(2):
        world = make_world()
        script = Scripted(world, [OK])
        add(world)
        run(world, 0.1)
        ids.append(batches(script)[0][1])
    assert ids[0] != ids[1]


def test_nothing_to_send_dials_nobody(world):
    script = Scripted(world, [])
    world.module("kgate.outcomes").flush(False)
    assert script.seen == []


def test_a_failed_batch_is_sent_again_under_its_id(world):
    script = Scripted(world, [{"end": "timeout"}, OK])
    add(world, 2)
    run(world, 0.1)
    assert [world.py(entry[1]) for entry in world.fake[b"late"].values()] == [1]
    world.fake[b"late"][1][2]()
    first, second = batches(script)
    assert first == second
    assert not world.py(world.fake[b"warnings"])


def test_a_batch_that_fails_twice_is_counted_as_dropped(world):
    script = Scripted(world, [AWAY, AWAY, OK, OK])
    add(world, 2)
    run(world, 0.1)
    world.fake[b"late"][1][2]()
    assert "2 outcomes dropped: connection refused" in world.py(world.fake[b"warnings"])[0]
    for _ in range(2):
        add(world)
        run(world, 0.1)
    assert [batch[2] for batch in batches(script)] == [2, 0]


def given_up(script):
    return [(batch[1].rpartition("-")[2], batch[2], [*batch[4:]]) for batch in raw(script)]


def test_a_batch_that_was_given_up_is_named_the_server_may_have_it_all_the_same(world):
    script = Scripted(world, [{"end": "timeout"}, {"end": "timeout"}, OK, OK])
    add(world, 2)
    run(world, 0.1)
    world.fake[b"late"][1][2]()
    for _ in range(2):
        add(world)
        run(world, 0.1)
    named = raw(script)[0][1]
    assert given_up(script) == [("1", 0, []), ("1", 0, []), ("2", 2, [[named, 2]]), ("3", 0, [])]


def test_what_a_batch_said_of_others_is_said_again_when_it_is_given_up(world):
    script = Scripted(world, [{"end": "timeout"}] * 4 + [OK] * 2)
    for count in (1, 4001):
        add(world, count)
        run(world, 0.1)
        world.fake[b"late"][len(world.fake[b"late"])][2]()
    for _ in range(2):
        add(world)
        run(world, 0.1)
    first, second = (raw(script)[at][1] for at in (0, 2))
    # one outcome of the second was never sent, which it said
    assert given_up(script)[-2:] == [("3", 4002, [[first, 1, second, 4001]]), ("4", 0, [])]


def test_of_many_batches_the_last_ones_are_named_the_others_counted(world):
    script = Scripted(world, [AWAY] * 200 + [OK])
    for _ in range(100):
        add(world)
        run(world, 0.2)
        world.fake[b"late"][len(world.fake[b"late"])][2]()
    add(world)
    run(world, 0.2)
    (last,) = raw(script)
    assert (last[2], len(last[4])) == (100, 2 * 64)
    assert last[4][-2].endswith("-100")


def test_four_thousand_are_kept_the_rest_is_counted(world):
    script = Scripted(world, [OK, OK])
    add(world, 4003)
    run(world, 0.1)
    add(world, 2)
    run(world, 0.1)
    assert [(len(batch[3]), batch[2]) for batch in batches(script)] == [(4000, 3), (2, 0)]


def test_a_busy_worker_does_not_wait(world):
    script = Scripted(world, [OK] * 3)
    add(world, 1999)
    run(world)
    assert script.seen == []
    add(world)
    run(world)
    add(world, 2000)
    run(world)
    assert [len(batch[3]) for batch in batches(script)] == [2000, 2000]
    add(world)
    run(world, 0.09)
    assert len(batches(script)) == 2
    assert started(world) == 1


def test_a_busy_worker_is_told_once(world):
    """The next batch has its tenth of a second again."""
    script = Scripted(world, [OK] * 2)
    add(world)
    run(world)
    add(world, 2500)
    run(world)
    assert [len(batch[3]) for batch in batches(script)] == [2501]
    add(world)
    run(world, 0.09)
    assert len(batches(script)) == 1
    run(world, 0.02)
    assert [len(batch[3]) for batch in batches(script)] == [2501, 1]


@pytest.mark.parametrize("missing", ["timers", "semaphores"])
def test_without_a_timer_the_next_one_tries_again(world, missing):
    world.fake[f"no_{missing}".encode()] = True
    add(world)
    world.fake[f"no_{missing}".encode()] = False
    assert "outcomes wait" in world.py(world.fake[b"warnings"])[0]
    add(world)
    script = Scripted(world, [OK])
    run(world, 0.1)
    assert len(batches(script)[0][3]) == 2


def test_at_a_workers_exit_a_timer_that_did_not_start_sends_without_a_second_try(world):
    Scripted(world, [AWAY])
    world.fake[b"premature"] = True
    add(world)
    run(world)
    assert "1 outcomes dropped" in world.py(world.fake[b"warnings"])[0]
    assert world.threads[b"alive"]() == 0


def test_at_a_workers_exit_the_timer_sends_what_is_there_and_ends(world):
    script = Scripted(world, [OK, OK])
    add(world)
    run(world, 0.2)
    world.fake[b"exiting"] = True
    run(world, 0.5)
    add(world)
    run(world)
    assert len(batches(script)) == 2
    run(world, 1)
    assert world.threads[b"alive"]() == 0


@pytest.mark.parametrize("broken", [None, 5])
def test_an_error_stays_in_the_timer(world, broken):
    world.fake[b"dial"] = broken
    add(world)
    run(world, 0.1)
    assert "outcomes" in world.py(world.fake[b"errors"])[0]
    script = Scripted(world, [OK])
    world.fake[b"dials"] = 0
    add(world)
    run(world, 0.1)
    assert len(batches(script)[0][3]) == 1


@pytest.mark.parametrize("address", [None, 5])
def test_what_is_no_outcome_leaves_nothing_behind(world, address):
    script = Scripted(world, [OK])
    add(world)
    known, fields = world.table({}), world.table(FIELDS)
    with pytest.raises(LuaError):
        world.module("kgate.outcomes").add(b"/s", known, fields, 1, address)
    add(world)
    run(world, 0.1)
    assert batches(script)[0][3] == [outcome(0)] * 2
