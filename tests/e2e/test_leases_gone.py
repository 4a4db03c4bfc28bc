"""Leases: a server that is gone, or hangs, vouches for nothing."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress

import pytest

from tests.e2e.gateway import wait_until
from tests.e2e.lease_gateway import LeaseGateway
from tests.e2e.loops import GONE_LATE, LATE, ON_SECONDS, Loop, late, measured, warm


@pytest.fixture
def mortal(given: LeaseGateway) -> Iterator[LeaseGateway]:
    """The plugin server may be killed or stopped; it serves again afterwards."""
    yield given
    if given.processes["server"].poll() is None:
        given.signal_server(signal.SIGCONT)
    else:
        given.start_server()
    given.serves()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_server_that_is_gone_vouches_for_nothing(mortal: LeaseGateway, number: signal.Signals) -> None:
    def try_it() -> float:
        who = mortal.person()
        with Loop(who, "/all/echo", pause=0.001) as loop:
            warm(mortal, loop)
            mortal.signal_server(number)
            end = time.monotonic()
            time.sleep(1.2)
            until = time.monotonic()
            if number == signal.SIGKILL:
                mortal.start_server()
            else:
                mortal.signal_server(signal.SIGCONT)
            back = time.monotonic()
            wait_until(lambda: loop.samples[-1].status == 200, 5, "it serves again")
            warm(mortal, loop)
        gone = [each for each in loop.since(end) if each.begun < until]
        assert {each.reason for each in gone if each.status != 200} <= {"server_away", "breaker_open"}
        assert any(each.status == 503 for each in gone)
        assert {each.status for each in loop.since(back + 2)} <= {200}
        return late(loop, end, lambda each: each.status == 200 and each.ended < until)

    measured(mortal, try_it, GONE_LATE)


def test_a_server_that_starts_anew_gives_leases_whichever_process_is_asked(mortal: LeaseGateway) -> None:
    """It learns the configs from Kong's workers, each process those of the routes that it is asked for."""
    for _ in range(4):
        mortal.restart_with(leases=True)
        with Loop(mortal.person(), "/all/echo", pause=0.002) as loop:
            warm(mortal, loop)


def test_one_process_of_the_server_that_hangs_vouches_for_nothing(mortal: LeaseGateway) -> None:
    """The others go on: who was told a lease by this one asks anew, and a block counts for him."""
    people = [mortal.person() for _ in range(6)]
    loops = [Loop(who, "/all/echo", pause=0.002) for who in people]
    stopped = mortal.server_workers()[0]
    with ExitStack() as stack:
        for loop in loops:
            stack.enter_context(loop)
        warm(mortal, loops[0])
        os.kill(stopped, signal.SIGSTOP)
        try:
            for who in people:
                mortal.kgate("block", "add", who.address, "--ttl", "5m")
            end = time.monotonic()
            time.sleep(LATE + ON_SECONDS)
        finally:
            with suppress(ProcessLookupError):  # it may have been replaced
                os.kill(stopped, signal.SIGCONT)
    for loop in loops:
        assert 200 not in {each.status for each in loop.since(end + LATE) if each.begun < end + LATE + 0.5}


def test_a_reload_under_load_answers_everybody(mortal: LeaseGateway) -> None:
    people = [mortal.person() for _ in range(4)]
    for who in people:  # one of Kong's workers may still have its breaker open, and here nobody else asked it
        wait_until(lambda who=who: who("/all/echo").status == 200, 8, "his worker has found the server again")
    loops = [Loop(who, "/all/echo", pause=0.002) for who in people]
    with ExitStack() as stack:
        for loop in loops:
            stack.enter_context(loop)
        warm(mortal, loops[0])
        for _ in range(2):
            before = mortal.server_workers()
            mortal.processes["server"].send_signal(signal.SIGHUP)
            wait_until(
                lambda before=before: not set(before) & set(mortal.server_workers()), 15, "new workers"
            )
            time.sleep(0.3)
        warm(mortal, loops[0])
    wrong = [each.told for loop in loops for each in loop.samples if each.status != 200]
    assert not wrong, wrong[:5]
