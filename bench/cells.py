"""What the shared cells cost: locks between processes compared, decisions, and a flood of new keys.

    python -m bench.cells [--json] [--rounds N] [--keys N]

Times are microseconds. "alone" is one process; "contended" is 4 processes that all want the same lock or key all the
time, which no gateway does: it is the worst case. A gateway's workers are near "apart": 4 processes, each with keys
of its own.
"""

from __future__ import annotations

import argparse
import ctypes
import fcntl
import json
import mmap
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

from kong_plugins.state.cell_memory import CellMemory
from kong_plugins.state.cells import Cells, Charge
from kong_plugins.state.flags import Flags

PROCESSES = 4
SECOND = 10**9
HOUR = 3600 * SECOND

Work = Callable[[int], object]
"""Does the thing once; the argument counts up."""


def spread(work: Work, rounds: int) -> tuple[float, float, float]:
    """(mean, median, 99th percentile) in microseconds.

    The mean is measured without a clock between, over ten parts of which the best counts: what else runs on this
    machine is not what is measured.
    """
    part = max(rounds // 10, 1)
    mean = float("inf")
    for _ in range(10):
        started = time.perf_counter()
        for number in range(part):
            work(number)
        mean = min(mean, (time.perf_counter() - started) / part * 1e6)
    took = []
    clock = time.perf_counter_ns
    for number in range(rounds):
        begin = clock()
        work(number)
        took.append(clock() - begin)
    took.sort()
    return mean, took[rounds // 2] / 1e3, took[rounds * 99 // 100] / 1e3


def forked(make: Callable[[int], Work], rounds: int, processes: int = PROCESSES) -> dict[str, float]:
    """The same in several processes at once: the mean over them, and the worst 99th percentile."""
    go_read, go_write = os.pipe()
    out_read, out_write = os.pipe()
    children = []
    for index in range(processes):
        child = os.fork()
        if child == 0:
            os.close(go_write)
            work = make(index)
            os.read(go_read, 1)  # ends when the parent closes its end: all begin together
            os.write(out_write, (json.dumps(spread(work, rounds)) + "\n").encode())
            os._exit(0)
        children.append(child)
    os.close(go_read)
    os.close(out_write)
    os.close(go_write)
    for child in children:
        os.waitpid(child, 0)
    with os.fdopen(out_read) as file:
        answers = [json.loads(line) for line in file]
    return {
        "mean": round(sum(answer[0] for answer in answers) / len(answers), 2),
        "p50": round(sum(answer[1] for answer in answers) / len(answers), 2),
        "p99": round(max(answer[2] for answer in answers), 2),
    }


def lock_works() -> dict[str, tuple[str, Callable[[int], Work]]]:
    """Each kind of lock: what is known of it, and take and release once, waiting as it waits best."""
    works: dict[str, tuple[str, Callable[[int], Work]]] = {}

    def of_cells(kind: str) -> Callable[[int], Work]:
        fd = CellMemory.create(64, locks=kind)

        def make(_: int) -> Work:
            locks = CellMemory(fd).locks
            return lambda _: locks.acquire(1) and locks.release(1)

        return make

    works["robust mutex"] = ("freed when its holder dies; waits with a limit", of_cells("mutex"))
    works["fcntl range"] = ("freed when its holder dies; polls", of_cells("range"))

    file = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as the works

    def flock(_: int) -> Work:
        # opened anew by each process: a lock of flock belongs to the open file
        fd = os.open(f"/proc/self/fd/{file.fileno()}", os.O_RDWR)

        def work(_: int) -> None:
            fcntl.flock(fd, fcntl.LOCK_EX)
            fcntl.flock(fd, fcntl.LOCK_UN)

        return work

    works["flock"] = ("one file per lock, opened by each process; waits without a limit", flock)

    from _multiprocessing import SemLock  # type: ignore[import-not-found]

    semaphore: Any = SemLock(1, 1, 1, f"/kgate-bench-{os.getpid()}", True)

    def by_semaphore(_: int) -> Work:
        def work(_: int) -> None:
            semaphore.acquire(True, 1.0)
            semaphore.release()

        return work

    works["semaphore"] = ("stays taken when its holder dies: not robust", by_semaphore)

    try:
        swap = ctypes.PyDLL("libatomic.so.1")["__atomic_compare_exchange_8"]
    except (OSError, AttributeError):
        return works
    shared = mmap.mmap(-1, 4096)
    pin = (ctypes.c_char * 4096).from_buffer(shared)

    def by_swap(_: int) -> Work:
        expected, wanted = ctypes.c_uint64(0), ctypes.c_uint64(1)
        at, address = ctypes.byref(expected), ctypes.byref(pin)

        def work(_: int) -> None:
            while not swap(address, at, wanted, 5, 5) & 1:
                wanted.value = expected.value + 1

        return work

    works["atomic swap"] = ("no lock; one word only, and libatomic is not in slim images", by_swap)
    return works


def decisions(kind: str, rounds: int) -> dict[str, Any]:
    fd = Cells.create(1 << 16, locks=kind)
    cells = Cells.attach(fd)
    flags = Flags(cells.memory)
    now = cells.now()
    flags.set("breaker svc", 2, now + 100 * HOUR, now)
    three = [Charge(name, 1, 100 * HOUR) for name in ("ip 203.0.113.7", "user alice", "route checkout")]
    alone: dict[str, Work] = {
        "gcra, admitted": lambda _: cells.gcra("ip 203.0.113.7", 1, 100 * HOUR, now),
        "gcra, refused": lambda _: cells.gcra("ip 203.0.113.8", HOUR, HOUR, now),
        "gcra_all of three": lambda _: cells.gcra_all(three, now),
        "add": lambda _: cells.add("n", 1, HOUR, now),
        "read": lambda _: cells.read("n", now),
        "flag": lambda _: flags.get("breaker svc", now),
    }
    found: dict[str, Any] = {}
    for name, work in alone.items():
        mean, p50, p99 = spread(work, rounds)
        found[name] = {"mean": round(mean, 2), "p50": round(p50, 2), "p99": round(p99, 2)}

    def of_process(key: str) -> Callable[[int], Work]:
        def make(index: int) -> Work:
            own = Cells.attach(fd)
            name = key.format(index)
            return lambda _: own.gcra(name, 1, 100 * HOUR, now)

        return make

    found["gcra, 4 processes apart"] = forked(of_process("key of {}"), rounds)
    found["gcra, 4 processes, one key"] = forked(of_process("one"), rounds // 4)
    cells.close()
    os.close(fd)
    return found


def flood(keys: int) -> dict[str, Any]:
    """So many distinct keys through a table of the default size."""
    fd = Cells.create()
    cells = Cells.attach(fd)
    clock = time.perf_counter_ns
    took = bytearray(keys * 4)
    times = memoryview(took).cast("I")
    start = _resident()
    for number in range(keys):
        now = cells.now()
        key = f"ip 2001:db8:{number >> 16:x}:{number & 65535:x}::/64"
        begin = clock()
        cells.gcra(key, SECOND, 5 * SECOND, now)
        times[number] = min(clock() - begin, 2**32 - 1)
    growth = _resident() - start
    times_sorted = sorted(times)
    answer = {
        "keys": keys,
        "p50": times_sorted[keys // 2] / 1e3,
        "p99": times_sorted[keys * 99 // 100] / 1e3,
        "p99.9": times_sorted[keys * 999 // 1000] / 1e3,
        "table_mb": round(os.fstat(fd).st_size / 2**20, 1),
        "rss_growth_mb": round(growth / 2**20, 1),
        "evicted": cells.evicted,
    }
    del times
    cells.close()
    os.close(fd)
    return answer


def _resident() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--rounds", type=int, default=50_000)
    parser.add_argument("--keys", type=int, default=1_000_000)
    arguments = parser.parse_args()
    found: dict[str, Any] = {"locks": {}, "decisions": {}}
    for name, (note, make) in lock_works().items():
        mean = spread(make(0), arguments.rounds)[0]
        contended = forked(make, arguments.rounds // 4)
        found["locks"][name] = {"alone": round(mean, 2), "contended": contended, "note": note}
    for kind in ("mutex", "range"):
        found["decisions"][kind] = decisions(kind, arguments.rounds)
    found["flood"] = flood(arguments.keys)
    if arguments.json:
        json.dump(found, sys.stdout, indent=1)
        print()
        return
    print(f"{'lock':14} {'alone':>7} {'4 contending':>13} {'p99':>9}")
    for name, row in found["locks"].items():
        mean, p99 = row["contended"]["mean"], row["contended"]["p99"]
        print(f"{name:14} {row['alone']:7.2f} {mean:13.2f} {p99:9.2f}  {row['note']}")
    for kind, rows in found["decisions"].items():
        print(f"\n{'decision, ' + kind:28} {'mean':>7} {'p50':>7} {'p99':>9}")
        for name, row in rows.items():
            print(f"{name:28} {row['mean']:7.2f} {row['p50']:7.2f} {row['p99']:9.2f}")
    print("\nflood: " + ", ".join(f"{name} {value}" for name, value in found["flood"].items()))


if __name__ == "__main__":
    main()
