"""A process that works on shared cells: `cell_process.py FD MODE [PORT]`.

It says "ready" and begins when it reads a line, so that several begin together.
"""

from __future__ import annotations

import json
import sys
import time

from kong_plugins.state import locks
from kong_plugins.state.cells import Cells, Charge

SECOND = 10**9
HOUR = 3600 * SECOND
"""Per request: nothing is paid back within a test."""
LIMIT_KEYS, LIMIT, TRIES = 40, 5, 100
BOTH, BOTH_TRIES = 50, 400
EVENTS = 3000
PERMITS = 10
REGISTERS = 50


def work(cells: Cells) -> dict[str, int]:
    """Everything that has to be exact; what this process got of it. No holder is given up: on a busy machine one may
    get no core for longer than the usual patience, and whoever then decides alone may admit one too much."""
    locks.PATIENCE_SECONDS = locks.LONGEST_SECONDS = 50.0
    answer: dict[str, int] = {}
    now = cells.now()
    for key in range(LIMIT_KEYS):
        answer[f"k{key}"] = sum(cells.gcra(f"k{key}", HOUR, LIMIT * HOUR, now)[0] for _ in range(TRIES))
    both = [Charge("left", HOUR, BOTH * HOUR), Charge("right", HOUR, BOTH * HOUR)]
    answer["both"] = sum(cells.gcra_all(both, now)[0] for _ in range(BOTH_TRIES))
    for number in range(EVENTS):
        cells.add("sum", number % 7, HOUR, now)
    answer["permits"] = sum(cells.take("half-open", PERMITS, HOUR, now) is not None for _ in range(PERMITS))
    answer["swaps"] = sum(cells.swap(f"state{n}", 0, 1, now + HOUR, now)[0] for n in range(REGISTERS))
    while not cells.flush(now):
        time.sleep(0.01)
    answer["missed"] = cells.missed
    return answer


def hold(cells: Cells) -> None:
    """Take every lock there is and wait to be killed or stopped."""
    for stripe in range(cells.memory.stripes):
        assert cells.acquire(stripe)
    print("held", flush=True)
    time.sleep(60)


def exchange(cells: Cells, port: int) -> None:
    """Exchange with other nodes until a line comes."""
    import redis

    from kong_plugins.state.exchange import Exchange

    running = Exchange(cells, lambda: redis.Redis(port=port, socket_timeout=20))
    running.start()
    while not running.connected:
        time.sleep(0.005)
    print("connected", flush=True)
    sys.stdin.readline()
    running.close()


def main() -> None:
    cells = Cells.attach(int(sys.argv[1]))
    print("ready", flush=True)
    sys.stdin.readline()
    if sys.argv[2] == "work":
        print(json.dumps(work(cells)), flush=True)
    elif sys.argv[2] == "hold":
        hold(cells)
    else:
        exchange(cells, int(sys.argv[3]))


if __name__ == "__main__":
    main()
