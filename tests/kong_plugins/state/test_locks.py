"""What happens to the others when the holder of a lock is killed or stopped: with real processes and signals."""

from __future__ import annotations

import os
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from kong_plugins.state import locks
from kong_plugins.state.cells import Cells, Charge
from kong_plugins.state.locks import MutexLocks, state_of
from tests.pace import TIGHT

SECOND = 10**9
HOUR = 3600 * SECOND
PROCESS = Path(__file__).with_name("cell_process.py")


@pytest.fixture(params=["mutex", "range"])
def cells(request: pytest.FixtureRequest) -> Iterator[Cells]:
    fd = Cells.create(64, locks=request.param)
    cells = Cells.attach(fd)
    yield cells
    cells.close()
    os.close(fd)


@pytest.fixture
def holder(cells: Cells) -> Iterator[subprocess.Popen[str]]:
    """A process that holds every lock."""
    fd = cells.memory.fd
    process = subprocess.Popen(
        [sys.executable, str(PROCESS), str(fd), "hold"],
        pass_fds=[fd],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("go\n")
    process.stdin.flush()
    assert [process.stdout.readline() for _ in range(2)] == ["ready\n", "held\n"]
    yield process
    process.kill()
    process.wait()
    process.stdin.close()
    process.stdout.close()


def stop(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGSTOP)
    while state_of(process.pid) != "T":
        time.sleep(0.001)


def test_a_killed_holder_blocks_nobody(cells: Cells, holder: subprocess.Popen[str]) -> None:
    holder.kill()
    holder.wait()
    now = cells.now()
    assert [cells.gcra("k", HOUR, 3 * HOUR, now)[0] for _ in range(5)] == [True] * 3 + [False] * 2
    for number in range(50):
        assert cells.add(f"k{number}", 1, HOUR, now) == 1
    # the secret that spreads keys over stripes is drawn anew each time: those that no key met are taken by number
    for stripe in range(cells.memory.stripes):
        assert cells.acquire(stripe)
        cells.release(stripe)
    assert cells.missed == 0
    if isinstance(cells.memory.locks, MutexLocks):
        assert cells.recovered == cells.memory.stripes


def test_a_stopped_holder_costs_the_others_less_than_a_millisecond(
    cells: Cells, holder: subprocess.Popen[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    stop(holder)
    waits = []
    for number in range(20):
        # each on a stripe that was not tried yet: the longest way
        cells.memory.locks._suspects.clear()  # type: ignore[attr-defined]
        started = time.perf_counter()
        cells.gcra(f"k{number}", HOUR, HOUR, cells.now())
        waits.append(time.perf_counter() - started)
    # 1 ms on an idle machine; a holder that is waited for would take forever
    assert statistics.median(waits) < (0.001 if TIGHT else 0.1)
    # and those that are known to be stuck are not waited for at all
    monkeypatch.setattr(locks, "SUSPECT_SECONDS", 60)
    for stripe in range(cells.memory.stripes):
        cells.acquire(stripe)
    waits = []
    for number in range(20):
        started = time.perf_counter()
        cells.gcra(f"k{number}", HOUR, HOUR, cells.now())
        waits.append(time.perf_counter() - started)
    assert statistics.median(waits) < locks.WAIT_SECONDS / 2
    assert cells.missed == 40 + cells.memory.stripes


def test_a_process_alone_keeps_its_own_account_and_hands_it_in(
    cells: Cells, holder: subprocess.Popen[str]
) -> None:
    now = cells.now()
    cells_before = [cells.tat("k", now)]
    stop(holder)
    assert [cells.gcra("k", HOUR, 3 * HOUR, now)[0] for _ in range(5)] == [True] * 3 + [False] * 2
    both = [Charge("a", HOUR, 2 * HOUR), Charge("b", HOUR, 5 * HOUR)]
    assert [cells.gcra_all(both, now)[0] for _ in range(3)] == [True, True, False]
    assert [cells.add("n", 2, HOUR, now) for _ in range(3)] == [2, 4, 6]
    # what has to be exact is refused instead
    assert cells.take("svc", 3, HOUR, now) is None
    assert cells.swap("r", 0, 1, now + HOUR, now) == (False, 0)
    assert not cells.reset("other")
    assert not cells.flush(now)
    assert [cells.tat("k", now)] == cells_before
    assert cells.missed > 0

    holder.kill()
    holder.wait()
    cells.memory.locks._suspects.clear()  # type: ignore[attr-defined]
    assert cells.add("n", 1, HOUR, now) == 7
    assert not cells.gcra_all(both, now)[0]
    assert cells.flush(now)
    assert cells.tat("k", now) == now + 3 * HOUR
    assert (cells.tat("a", now), cells.tat("b", now)) == (now + 2 * HOUR, now + 2 * HOUR)
    assert not cells.gcra("k", HOUR, 3 * HOUR, now)[0]


def test_a_holder_that_goes_on_is_waited_for(cells: Cells, monkeypatch: pytest.MonkeyPatch) -> None:
    """It had no core for a while: deciding alone would be wrong."""
    monkeypatch.setattr(locks, "LONGEST_SECONDS", 60)  # as long as the machine lets it wait
    held = threading.Event()

    def hold() -> None:
        for stripe in range(cells.memory.stripes):
            assert cells.acquire(stripe)
        held.set()
        time.sleep(2 * locks.PATIENCE_SECONDS)
        for stripe in range(cells.memory.stripes):
            cells.release(stripe)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    assert cells.gcra("k", HOUR, HOUR, cells.now())[0]
    thread.join()
    assert cells.missed == 0


def test_accounts_kept_alone_are_bounded(
    cells: Cells, holder: subprocess.Popen[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    stop(holder)
    monkeypatch.setattr(locks, "SUSPECT_SECONDS", 60)
    monkeypatch.setattr("kong_plugins.state.cell_table.ALONE", 10)
    now = cells.now()
    for number in range(25):
        cells.gcra(f"k{number}", HOUR, HOUR, now)
    assert len(cells.alone) == 10
    assert cells.forgotten == 15


def test_the_state_of_a_process() -> None:
    assert state_of(os.getpid()) == "R"
    assert state_of(2**22 + 1) == ""
