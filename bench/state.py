"""The control state as filters see it, at its full size: building, looking up, sharing, swapping.

    python -m bench.state [--rows N] [--json]            # make bench-state

    build    an image of N blocks from rows in memory; and from a Redis, in its two steps
    look-up  one address as text, by what the answer is; per call, timer included (its own cost is told);
             `which block`: with the block as the answer, for the first time and again
    memory   proportional set size of 4 workers that have all read the whole image
    swap     a worker's pause when it takes a new image; its decisions around that
    build beside decisions   p99 of decisions while another process builds, to p99 before

Prefix libraries (pytricia, py-radix) are measured with the same addresses where they are installed.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from bench import state_load
from bench.rounds import ROOT, machine
from bench.state_worker import percentiles
from kong_plugins.state.build_image import build_image
from kong_plugins.state.image import Image, sealed_memfd
from kong_plugins.state.records import Put, Record
from kong_plugins.state.snapshot import Snapshot, snapshot_of

WORKERS = 4
SLICE = 2_000
AIMS = {
    "build_seconds": 5.0,
    "lookup_median_us": 2.0,
    "workers_pss_mb": 400.0,
    "p99_while_building_to_idle": 2.0,
}
KEY = b"bench"


class Process:
    """One process of `bench.state_worker`."""

    def __init__(self, mode: str, argument: int, pass_fds: Sequence[int] = ()) -> None:
        command = [sys.executable, "-m", "bench.state_worker", mode, str(argument)]
        self._process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, pass_fds=pass_fds
        )
        self.answer()

    def ask(self, command: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(command + "\n")
        self._process.stdin.flush()

    def answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        found: dict[str, Any] = json.loads(self._process.stdout.readline())
        return found

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()


def build_figures(held: dict[str, str], rounds: int) -> tuple[dict[str, Any], bytes]:
    """Seconds of building, and the image."""
    dump = state_load.dump(held)
    seconds, cpu = [], []
    for _ in range(rounds):
        started, used = time.perf_counter(), time.process_time()
        data = build_image(dump, key=KEY)
        seconds.append(time.perf_counter() - started)
        cpu.append(time.process_time() - used)
    started = time.perf_counter()
    snapshot_of(Image.open(data, KEY))
    checked = time.perf_counter() - started
    found = {
        "seconds": sorted(seconds)[len(seconds) // 2],
        "cpu_seconds": sorted(cpu)[len(cpu) // 2],
        "rounds": seconds,
        "megabytes": len(data) / 1e6,
        "open_and_check_seconds": checked,
    }
    return found, data


def redis_figures(held: dict[str, str]) -> dict[str, Any] | None:
    """Seconds from a Redis to an image: reading, building. None without a redis-server."""
    from kong_plugins.state.redis import RedisStore
    from tests.redis_server import RedisServer, redis_executable

    executable = redis_executable()
    if executable is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        server = RedisServer(executable, Path(folder))
        server.start()
        try:
            store = RedisStore(server.url)
            started = time.perf_counter()
            bulk = store.stage(held.items())
            data = {"kind": "blocks", "count": len(held), "bulk": bulk}
            store.apply([Put(Record("sources", "bench", data, source="import:bench"))])
            staged = time.perf_counter()
            dump = store.load()
            loaded = time.perf_counter()
            build_image(dump, key=KEY)
            built = time.perf_counter()
            store.close()
        finally:
            server.kill()
    return {
        "import_seconds": staged - started,
        "load_seconds": loaded - staged,
        "build_seconds": built - loaded,
        "seconds": built - staged,
    }


def timed(look_up: Callable[[str], Any], addresses: Sequence[str]) -> dict[str, float]:
    """Percentiles of one call, the timer's own cost included, in the quietest of many slices of 2,000 calls:
    what else runs on the machine can only add."""
    best: dict[str, float] = {}
    clock = time.perf_counter_ns
    for _ in range(5):
        for first in range(0, len(addresses), SLICE):
            durations = []
            for address in addresses[first : first + SLICE]:
                started = clock()
                look_up(address)
                durations.append(clock() - started)
            found = percentiles(durations)
            if not best or found["p50_us"] < best["p50_us"]:
                best = found
    return best


def lookup_figures(snapshot: Snapshot, asked: dict[str, list[str]]) -> dict[str, Any]:
    """By kind of address; `any` is split into what was hit and what was missed."""
    match, holds = snapshot.blocks.match, snapshot.blocks.holds
    named = {name: addresses for name, addresses in asked.items() if name.endswith("hit")}
    for version in ("IPv4", "IPv6"):
        named[f"{version} miss"] = [ip for ip in asked[f"{version} any"] if match(ip, 0.0) is None]
    if not all(match(ip, 0.0) for name in named if name.endswith("hit") for ip in named[name]):
        raise RuntimeError("a blocked address is not found")
    found: dict[str, Any] = {name: timed(lambda ip: holds(ip, 0.0), named[name]) for name in named}
    for version in ("IPv4", "IPv6"):
        hits = named[f"{version} hit"]
        found[f"which block, {version}"] = timed(lambda ip: match(ip, 0.0), hits)
        # an attacker comes again: 1,000 addresses in turn
        found[f"which block, {version}, again"] = timed(lambda ip: match(ip, 0.0), hits[:1000] * 10)
    found["nothing (the timer)"] = timed(lambda ip: None, named["IPv4 hit"])
    return found


def library_figures(held: dict[str, str], asked: dict[str, list[str]]) -> dict[str, Any]:
    """The same with prefix libraries; only what is installed."""
    found: dict[str, Any] = {}
    networks = [key.partition(" ")[2] for key in held]
    for name in ("pytricia", "radix"):
        try:
            module = importlib.import_module(name)
        except ImportError:
            continue
        started = time.perf_counter()
        if name == "pytricia":
            fours, sixes = module.PyTricia(32), module.PyTricia(128)
            for network in networks:
                (sixes if ":" in network else fours)[network] = True
            four: Callable[[str], Any] = fours.get
            six: Callable[[str], Any] = sixes.get
        else:
            tree = module.Radix()
            for network in networks:
                tree.add(network)
            four = six = tree.search_best
        seconds = time.perf_counter() - started
        found[name] = {"build_seconds": seconds} | {
            kind: timed(six if "6" in kind else four, addresses) for kind, addresses in asked.items()
        }
    return found


def shared_figures(fd: int) -> dict[str, Any]:
    """Memory of the workers together."""
    workers = [Process("hold", fd, (fd,)) for _ in range(WORKERS)]
    try:
        found = []
        for worker in workers:
            worker.ask("memory")
            found.append(worker.answer())
    finally:
        for worker in workers:
            worker.close()
    return {
        "workers": WORKERS,
        "pss_mb": sum(one["Pss"] for one in found) / 1024,
        "private_mb": sum(one["Private_Dirty"] + one["Private_Clean"] for one in found) / 1024,
        "image_mb": found[0]["size"] / 2**20,
    }


def beside_figures(fd: int, rows: int, seconds: float, rounds: int) -> dict[str, Any]:
    """Decisions alone, while swapping, and while another process builds, in turn."""
    decider = Process("decide", fd, (fd,))
    builder = Process("build", rows)
    found: dict[str, list[dict[str, Any]]] = {"idle": [], "swapping": [], "building": []}
    builds = []
    try:
        for _ in range(rounds):
            for name, command in (("idle", "measure"), ("swapping", "swap")):
                decider.ask(f"{command} {seconds}")
                found[name].append(decider.answer())
            builder.ask("build")
            decider.ask(f"measure {seconds}")
            found["building"].append(decider.answer())
            builds.append(builder.answer()["seconds"])
    finally:
        decider.close()
        builder.close()
    ratios = sorted(
        busy["p99_us"] / idle["p99_us"] for busy, idle in zip(found["building"], found["idle"], strict=True)
    )
    return {
        "seconds": builds,
        "ratio_p99": ratios[len(ratios) // 2],
        "ratios_p99": ratios,
        **{name: sorted(one, key=lambda each: each["p99_us"])[len(one) // 2] for name, one in found.items()},
    }


def bench(
    rows: int, rounds: int, seconds: float, with_redis: bool, say: Callable[[str], None]
) -> dict[str, Any]:
    """Measure it all; say(text) is told what is going on."""
    about = machine()
    say(f"{rows} rows")
    held = state_load.rows(rows)
    asked = state_load.questions(held)
    say("build")
    built, data = build_figures(held, rounds)
    say("look-up")
    fd = sealed_memfd(data)
    try:
        looked = lookup_figures(snapshot_of(Image.open(fd)), asked)
        say("memory")
        shared = shared_figures(fd)
        say("decisions beside a swap and a build")
        beside = beside_figures(fd, rows, seconds, rounds)
    finally:
        os.close(fd)
    say("libraries")
    libraries = library_figures(held, asked)
    say("Redis")
    from_redis = redis_figures(held) if with_redis else None
    slowest = max(each["p50_us"] for name, each in looked.items() if name.startswith("IP"))
    values = {
        "build_seconds": built["seconds"],
        "lookup_median_us": slowest,
        "workers_pss_mb": shared["pss_mb"],
        "p99_while_building_to_idle": beside["ratio_p99"],
    }
    return {
        "version": 1,
        "rows": rows,
        "aims": {
            name: {"value": round(values[name], 2), "aim": f"< {aim:g}", "met": values[name] < aim}
            for name, aim in AIMS.items()
        },
        "build": built,
        "from_redis": from_redis,
        "look_up": looked,
        "memory": shared,
        "beside": beside,
        "libraries": libraries,
        "machine": about,
    }


def human(result: dict[str, Any]) -> str:
    """The same as tables."""
    built, redis, shared = result["build"], result["from_redis"], result["memory"]
    lines = [
        f"{result['rows']:,} blocks: image {built['megabytes']:.0f} MB, built in {built['seconds']:.2f} s "
        f"({built['cpu_seconds']:.2f} s of CPU), opened and checked in "
        f"{built['open_and_check_seconds'] * 1000:.0f} ms"
    ]
    if redis is not None:
        lines.append(
            f"from Redis: {redis['seconds']:.1f} s (read {redis['load_seconds']:.1f}, "
            f"build {redis['build_seconds']:.1f}); its import took {redis['import_seconds']:.1f} s"
        )
    lines.append(f"{'look-up, us':28} {'p50':>7} {'p99':>7}")
    for name, each in result["look_up"].items():
        lines.append(f"{name:28} {each['p50_us']:>7.2f} {each['p99_us']:>7.2f}")
    for library, kinds in result["libraries"].items():
        lines.append(f"{library}, built in {kinds['build_seconds']:.1f} s")
        for name, each in kinds.items():
            if name != "build_seconds":
                lines.append(f"  {name:26} {each['p50_us']:>7.2f} {each['p99_us']:>7.2f}")
    lines.append(
        f"{shared['workers']} workers: PSS {shared['pss_mb']:.0f} MB together, "
        f"private {shared['private_mb']:.0f} MB, image {shared['image_mb']:.0f} MB"
    )
    lines.append(f"{'decisions, us':24} {'p50':>7} {'p99':>7} {'p99.9':>7} {'max':>8}")
    for name in ("idle", "swapping", "building"):
        each = result["beside"][name]
        figures = (
            f"{each['p50_us']:>7.1f} {each['p99_us']:>7.1f} {each['p999_us']:>7.1f} {each['max_us']:>8.1f}"
        )
        lines.append(f"{name:24} {figures}")
    swap = result["beside"]["swapping"]["swap"]
    lines.append(f"one swap: {swap['p50_us']:.0f} us, at most {swap['max_us']:.0f}")
    for name, aim in result["aims"].items():
        lines.append(f"{name}: {aim['value']} (aim {aim['aim']}, {'met' if aim['met'] else 'NOT met'})")
    return "\n".join(lines)


@click.command()
@click.option("--rows", type=click.IntRange(1_000), default=1_000_000, show_default=True)
@click.option("--rounds", type=click.IntRange(1), default=3, show_default=True)
@click.option("--seconds", type=float, default=3.0, show_default=True, help="Of one run of decisions.")
@click.option("--redis/--no-redis", default=True, show_default=True, help="Measure from a Redis too.")
@click.option("--json", "as_json", is_flag=True)
def main(rows: int, rounds: int, seconds: float, redis: bool, as_json: bool) -> None:
    """Measure building, look-up, sharing and swapping of the control state."""
    result = bench(rows, rounds, seconds, redis, lambda text: click.echo(text, err=True))
    click.echo(json.dumps(result, indent=2) if as_json else human(result))


if __name__ == "__main__":
    main()
