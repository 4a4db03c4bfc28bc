"""1,000 changes in DB mode by kgate against the same requests sent raw over as many kept connections (bench.decl)."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

CHANGES = 1000
WORKERS = 10
SLICE = 100


def flat_of(source: dict[str, Any]) -> Any:
    """The entities of a document, without the checks."""
    from decl.build import build
    from decl.flatten import flatten
    from decl.load import Text, load
    from decl.render import render
    from decl.tenants import expand

    text = Text("gateway.yaml", json.dumps(source).encode())
    return flatten(render(expand(build(load([text]).document)), "default").document)


def fill(client: Any, flat: Any) -> float:
    """Make a database hold these entities and no others; the seconds that it took."""
    from decl.apply_db import apply
    from decl.diff import diff
    from decl.live import read_live, schemas_of
    from decl.retry import Sender

    schemas = schemas_of(client)
    found = diff(flat, read_live(client), schemas)
    started = time.perf_counter()
    applied = apply(found.changes, Sender(client), schemas, workers=WORKERS)
    assert applied.outcome == "changed", applied
    return time.perf_counter() - started


def changed(source: dict[str, Any]) -> dict[str, Any]:
    """Another config of a service, its two routes and its plugin: four of the eight entities that each has."""
    new: dict[str, Any] = json.loads(json.dumps(source))
    for service in new["services"]:
        service["retries"] = 1
        service["plugins"][1]["config"]["max_age"] = 60
        for route in service["routes"]:
            route["preserve_host"] = True
    return new


def measure(url: str, source: dict[str, Any], rounds: int) -> dict[str, Any]:
    """Fill the database of the Admin API at `url` with `source`, and take turns at it."""
    from decl.admin import AdminClient
    from decl.apply_db import apply
    from decl.diff import diff
    from decl.http import Pool
    from decl.live import read_live, schemas_of
    from decl.retry import Sender
    from decl.writes import write

    with AdminClient(url, timeout=60) as client:
        old, new = flat_of(source), flat_of(changed(source))
        fill(client, old)
        schemas = schemas_of(client)
        there = diff(new, read_live(client), schemas).changes[:CHANGES]
        back = diff(old, new, schemas).changes[:CHANGES]
        pool = Pool(url, timeout=60)

        def one(item: tuple[str, str, bytes]) -> int:
            return pool.request(*item, {"Content-Type": "application/json"}).status

        def by_kgate(part: slice) -> None:
            applied = apply(there[part], Sender(client), schemas, workers=WORKERS)
            assert applied.done == len(there[part]), applied.reason

        def raw(part: slice) -> None:
            with ThreadPoolExecutor(WORKERS) as threads:
                assert set(threads.map(one, prepared[part.start])) == {200}

        parts = [slice(at, at + SLICE) for at in range(0, len(there), SLICE)]
        prepared = {
            part.start: [
                (w.method, w.path, json.dumps(w.body).encode())
                for w in (write(change) for change in back[part])
            ]
            for part in parts
        }
        sides = {"kgate": by_kgate, "raw": raw}
        runs: list[dict[str, list[tuple[float, float]]]] = [{"kgate": [], "raw": []} for _ in parts]
        for number in range(rounds):
            # In slices that take turns: what else the machine does meanwhile comes and goes within a whole run.
            for part, times in zip(parts, runs, strict=True):
                for side in ("kgate", "raw") if number % 2 else ("raw", "kgate"):
                    times[side].append(_timed(sides[side], part))
        pool.close()
    return {"changes": len(there), **summed_up(runs, rounds)}


def _timed(do: Callable[[slice], None], part: slice) -> tuple[float, float]:
    """Seconds, and those of the processor."""
    started, used = time.perf_counter(), time.process_time()
    do(part)
    return time.perf_counter() - started, time.process_time() - used


def summed_up(runs: list[dict[str, list[tuple[float, float]]]], rounds: int) -> dict[str, Any]:
    """Of each slice the best of all rounds, since other work makes a slice slower only; and the ratios of whole
    rounds, for the spread."""

    def best(side: str, which: int) -> float:
        return sum(min(run[which] for run in times[side]) for times in runs)

    def whole(side: str, number: int) -> float:
        return sum(times[side][number][0] for times in runs)

    ratios = sorted(whole("raw", number) / whole("kgate", number) for number in range(rounds))
    return {
        "seconds": best("kgate", 0),
        "raw_seconds": best("raw", 0),
        "ratio_to_raw": best("raw", 0) / best("kgate", 0),
        "ratio_of_rounds_least": ratios[0],
        "ratio_of_rounds_median": statistics.median(ratios),
        "ratio_of_rounds_most": ratios[-1],
        "cpu_seconds": best("kgate", 1),
        "raw_cpu_seconds": best("raw", 1),
    }
