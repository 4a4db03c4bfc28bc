"""The processes of the state bench: each does one thing and prints one line of JSON for each line that it reads.

python -m bench.state_worker hold FD                 maps the image, reads all of it; then its memory
python -m bench.state_worker build ROWS              builds images of ROWS rows, at low priority
python -m bench.state_worker decide FD               decisions in a loop; `measure SECONDS`, `swap SECONDS`
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench import messages, state_load
from bench.tokens import Issuer
from kong_plugins.identity.trust_config import build_trust
from kong_plugins.server.building import lower
from kong_plugins.server.decider import Decider
from kong_plugins.server.mirror import Mirror
from kong_plugins.state.build_image import build_image
from kong_plugins.state.cells import Cells
from kong_plugins.state.image import Image
from kong_plugins.state.snapshot import snapshot_of

_SWAP_SECONDS = 1.0


def percentiles(nanoseconds: list[int]) -> dict[str, float]:
    """Of durations, in microseconds."""
    ordered = sorted(nanoseconds)

    def at(part: float) -> float:
        return ordered[min(len(ordered) - 1, int(len(ordered) * part))] / 1000

    return {
        "count": len(ordered),
        "p50_us": at(0.5),
        "p99_us": at(0.99),
        "p999_us": at(0.999),
        "max_us": at(1),
    }


def memory_kb() -> dict[str, int]:
    """Proportional and private memory of this process."""
    found = dict.fromkeys(("Pss", "Private_Dirty", "Private_Clean", "Shared_Clean", "Shared_Dirty"), 0)
    for line in Path("/proc/self/smaps_rollup").read_text().splitlines():
        name = line.partition(":")[0]
        if name in found:
            found[name] = int(line.split()[1])
    return found


def hold(fd: int) -> Callable[[list[str]], dict[str, Any]]:
    """A worker that has looked at every page of the image."""
    image = Image.open(fd)
    snapshot = snapshot_of(image)
    touched = sum(sum(section[::4096]) for section in image.sections.values() if section.format == "B")
    snapshot.blocks.match("10.0.0.1", 0.0)
    kept = (image, snapshot)
    return lambda _command: {"touched": touched, **memory_kb(), "size": kept[0].size}


def build(rows: int) -> Callable[[list[str]], dict[str, Any]]:
    """The keeper's part: an image of so many rows."""
    lower(idle=True)
    dump = state_load.dump(state_load.rows(rows))

    def once(_command: list[str]) -> dict[str, Any]:
        started = time.perf_counter()
        size = len(build_image(dump, key=b"bench"))
        return {"seconds": time.perf_counter() - started, "bytes": size}

    return once


def decide(fd: int) -> Callable[[list[str]], dict[str, Any]]:
    """A worker that decides without a pause: all four plugins, one warm token, addresses that are not blocked."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    issuer = Issuer()
    folder = tempfile.mkdtemp(prefix="kgate-bench-")
    trust = build_trust({"issuers": [issuer.anchor()]}, Path(folder), Path(folder))
    decider = Decider(time.time)
    waiting: list[tuple[float, Callable[[], None]]] = []
    cells_fd = Cells.create(64)
    mirror = Mirror(
        decider,
        trust,
        Cells.attach(cells_fd),
        lambda seconds, call: waiting.append((time.perf_counter() + seconds, call)),
    )
    mirror.image([], os.dup(fd))
    route = messages.ExpressRoute(1)
    decider.register_chain(route._hash, route._flat)
    # users of the documentation networks are not in the list, or it is a refusal: both are decisions
    facts = [messages.record(issuer.token(user), 1, user) for user in range(500)]

    def run(command: list[str]) -> dict[str, Any]:
        swapping, end = command[0] == "swap", time.perf_counter() + float(command[1])
        durations: list[int] = []
        swaps: list[int] = []
        clock, number, swap_at = time.perf_counter_ns, 0, time.perf_counter()
        while time.perf_counter() < end:
            started = clock()
            # in the loop, as the worker does it: the next decision waits for it
            if swapping and time.perf_counter() >= swap_at:
                mirror.image([], os.dup(fd))
                swap_at += _SWAP_SECONDS
                swaps.append(clock() - started)
            elif waiting and time.perf_counter() >= waiting[0][0]:
                waiting.pop(0)[1]()
                swaps.append(clock() - started)
            number += 1
            wire = decider.decide_chain(route._hash, facts[number % len(facts)])
            durations.append(clock() - started)
            if "e" in wire:
                raise RuntimeError(f"no verdict: {wire}")
        return percentiles(durations) | ({"swap": percentiles(swaps)} if swaps else {})

    run(["measure", "0.2"])
    return run


def main() -> None:
    mode, argument = sys.argv[1], int(sys.argv[2])
    answer = {"hold": hold, "build": build, "decide": decide}[mode](argument)
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        print(json.dumps(answer(line.split())), flush=True)


if __name__ == "__main__":
    main()
