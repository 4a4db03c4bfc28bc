"""abuse-guard's shipped scenarios against made or recorded traffic, on simulated time.

    python -m bench.abuse_replay [--seconds 600] [--seed 1] [--output json|human]   # delay, precision, recall; of
                                                                                    # made and of recorded traffic
    python -m bench.abuse_replay --sweep                                            # attacks at x0.1 to x10
    python -m bench.abuse_replay --log access.log                                   # what it would do to your traffic
    python -m bench.abuse_replay --flood 1000000                                    # memory and time of a decision

delay      seconds from an attacker's first request to the block or mark, the longest of them
recall     share of the attackers who were found (by any scenario)
precision  share of a scenario's blocks and marks that hit an attacker
passed     share of an attack's requests that reached the service
false      requests of the normal traffic that were refused; of a scenario: the share of them that it refused

The thresholds are those of kong_plugins/abuse_guard/shipped.py, fixed before any sweep was run.
"""

from __future__ import annotations

import gzip
import json
import resource
from pathlib import Path
from typing import Any

import click

from bench import abuse_logs, abuse_run, abuse_traffic
from bench.abuse_record import COMBINED, KONG, TRUTH
from bench.abuse_traffic import ATTACKS, Request
from kong_plugins.abuse_guard import shipped
from kong_plugins.abuse_guard.buckets import MAX_BUCKETS

RECORDED = Path(__file__).parent / "recorded"
FACTORS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
AIM_SECONDS = 30.0
WARM_UP = 20_000
"""Requests before a flood's memory is measured."""
MOST_TIMED = 100_000
FLOODS = 5


def measure(normal: list[Request], seed: int, seconds: float, factor: float) -> dict[str, Any]:
    """One run: the normal traffic with the attacks at `factor` times their rates."""
    hostile, starts = abuse_traffic.attacks(seed, seconds, factor)
    rates = {attack.name: attack.rate * factor for attack in ATTACKS}
    return {"factor": factor, **judge([*normal, *hostile], starts, rates)}


def judge(requests: list[Request], starts: dict[str, float], rates: dict[str, float]) -> dict[str, Any]:
    """What is found of these attackers ("KIND NUMBER", by when they start), and who else is refused.

    rates: of each kind, requests a second.
    """
    result = abuse_run.Replay().run(sorted(requests, key=lambda request: request.time))
    keys = abuse_run.keys_of(request for request in requests if request.attacker)
    delays: dict[str, float] = {}
    wrong: list[abuse_run.Found] = []
    made: dict[str, list[bool]] = {name: [] for name in shipped.SCENARIOS}
    for found in result.found:
        hit = [attacker for attacker, his in keys.items() if found.key in his]
        made[found.scenario].append(bool(hit))
        if not hit:
            wrong.append(found)
        for attacker in hit:
            delays.setdefault(attacker, found.time - starts[attacker])
    rows = {}
    for kind, rate in rates.items():
        all_of = [name for name in starts if name.rpartition(" ")[0] == kind]
        mine = [delays[name] for name in all_of if name in delays]
        right = made[kind]
        rows[kind] = {
            "rate": rate,
            "delay": round(max(mine), 1) if mine else None,
            "recall": round(len(mine) / max(len(all_of), 1), 2),
            "precision": round(sum(right) / len(right), 2) if right else None,
            "passed": round(1 - result.refused[kind] / max(result.requests[kind], 1), 3),
            "false": result.refused_for[kind],
            "false_share": result.refused_for[kind] / max(result.requests[""], 1),
        }
    return {
        "scenarios": rows,
        "normal_requests": result.requests[""],
        "false": result.refused[""],
        "false_by": dict(result.refused_by),
        "false_share": result.refused[""] / max(result.requests[""], 1),
        "wrong": [found._asdict() for found in wrong],
        "held_back": [found._asdict() for found in result.held_back],
    }


def recorded(log: Path) -> dict[str, Any]:
    """The same of a recorded log, with what `bench.abuse_record` wrote beside it of who the attackers were."""
    requests, bad = _read(log)
    who = {
        address: (one["kind"], one["name"])
        for one in json.loads((log.parent / TRUTH).read_text())["attackers"]
        for address in one["addresses"]
    }
    labelled = []
    for request in requests:
        kind, name = who.get(request.ip, ("", ""))
        labelled.append(request._replace(attack=kind, attacker=name))
    times: dict[str, list[float]] = {}
    for request in labelled:
        if request.attacker:
            times.setdefault(request.attacker, []).append(request.time)
    rates: dict[str, list[float]] = {}
    for name, his in times.items():
        rates.setdefault(name.rpartition(" ")[0], []).append(len(his) / max(his[-1] - his[0], 1.0))
    found = judge(
        labelled,
        {name: his[0] for name, his in times.items()},
        {kind: round(sum(each) / len(each), 2) for kind, each in sorted(rates.items())},
    )
    return {"log": log.name, "unreadable": bad, **found}


def limits_of(runs: list[dict[str, Any]]) -> dict[str, float | None]:
    """The lowest rate of each attack at which, and above which, every attacker was found within the aim."""
    found: dict[str, float | None] = {}
    for attack in ATTACKS:
        lowest: float | None = None
        for run in sorted(runs, key=lambda run: -float(run["factor"])):
            row = run["scenarios"][attack.name]
            if row["recall"] < 1 or row["delay"] > AIM_SECONDS:
                break
            lowest = row["rate"]
        found[attack.name] = lowest
    return found


def replay_log(path: Path) -> dict[str, Any]:
    """What would have been done to recorded traffic."""
    requests, bad = _read(path)
    result = abuse_run.Replay().run(requests)
    return {
        "requests": len(requests),
        "unreadable": bad,
        "refused": result.refused[""],
        "refused_by": dict(result.refused_by),
        "refused_for": dict(result.refused_for),
        "held_back": [found._asdict() for found in result.held_back],
        "found": [found._asdict() for found in result.found],
    }


def _read(path: Path) -> tuple[list[Request], int]:
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt", encoding="utf-8", errors="surrogateescape") as lines:
        return abuse_logs.read(lines)


def flood(count: int) -> dict[str, Any]:
    """So many requests, each with an address, a path and a User-Agent of its own, through limits and scenarios."""
    limits = [
        {"name": "ip", "key": ["ip"], "rate": 10},
        {"name": "all", "key": ["route"], "rate": 1e6, "burst": 1000000},
    ]
    replay = abuse_run.Replay({**abuse_run.CONFIG, "limits": limits})

    def request(number: int) -> Request:
        high, low = divmod(number, 65536)
        text = f"{number:08x}" * 20
        return Request(number / 1e4, f"2a00:{high:x}:{low:x}::1", "GET", f"/{text}", 404, f"Agent {text}")

    # a decision: as in a worker, where no analyst is. Processor time, and of each key the fastest of several
    # floods that run in turn, each with memory of its own: what other work on the machine takes is not ours
    floods = [replay, *(abuse_run.Replay({**abuse_run.CONFIG, "limits": limits}) for _ in range(FLOODS - 1))]
    times: list[float] = []
    raw: list[float] = []
    for number in range(min(count, MOST_TIMED)):
        facts = abuse_run.facts_of(request(number))
        took = [one.timed(facts, abuse_run.START + number / 1e4) / 1000 for one in floods]
        times.append(min(took))
        raw += took
    raw.sort()
    replay.run(request(number) for number in range(WARM_UP))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    replay.run(request(number) for number in range(WARM_UP, WARM_UP + count))
    times.sort()
    return {
        "keys": count,
        "rss_growth_mb": round((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024, 1),
        "decision_p50_us": round(times[len(times) // 2], 1),
        "decision_p99_us": round(times[int(len(times) * 0.99)], 1),
        "with_the_machines_noise_p50_us": round(raw[len(raw) // 2], 1),
        "with_the_machines_noise_p99_us": round(raw[int(len(raw) * 0.99)], 1),
        "buckets": len(replay.analyst.buckets),
        "most_buckets": MAX_BUCKETS,
        "evicted": replay.analyst.buckets.evicted,
    }


def table(run: dict[str, Any]) -> str:
    """A run for people."""
    lines = [
        f"recorded: {run['log']}" if "log" in run else f"attacks x{run['factor']:g}",
        f"{'scenario':<22}{'req/s':>7}{'delay s':>9}{'recall':>8}{'precision':>11}{'passed':>8}{'false':>9}",
    ]
    for name, row in run["scenarios"].items():
        delay = "-" if row["delay"] is None else f"{row['delay']:.1f}"
        precision = "-" if row["precision"] is None else f"{row['precision']:.2f}"
        lines.append(
            f"{name:<22}{row['rate']:>7.2f}{delay:>9}{row['recall']:>8.2f}{precision:>11}{row['passed']:>8.1%}"
            f"{row['false_share']:>9.3%}"
        )
    lines.append(f"normal: {run['normal_requests']} requests, {run['false']} refused {run['false_by'] or ''}")
    lines += [
        f"wrong: {one['scenario']} {one['kind']} {one['key']} at {one['time']:.0f} s" for one in run["wrong"]
    ]
    lines += [
        f"held back: {one['scenario']} {one['key']} at {one['time']:.0f} s: too many blocks in a minute, or private"
        for one in run["held_back"]
    ]
    return "\n".join(lines)


@click.command()
@click.option("--seconds", default=600.0, help="Simulated time.")
@click.option("--seed", default=1)
@click.option("--factor", default=1.0, help="Attack rate, times the usual one.")
@click.option("--sweep", is_flag=True, help="Attack rates from x0.1 to x10.")
@click.option(
    "--log",
    "log_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Combined format or Kong's JSON; .gz too.",
)
@click.option("--flood", "flood_keys", type=int, help="Memory and time under so many different keys.")
@click.option("--output", type=click.Choice(["human", "json"]), default="human")
def main(
    seconds: float,
    seed: int,
    factor: float,
    sweep: bool,
    log_file: Path | None,
    flood_keys: int | None,
    output: str,
) -> None:
    """Replay traffic through abuse-guard."""
    if log_file is not None or flood_keys is not None:
        found = replay_log(log_file) if log_file is not None else flood(flood_keys or 0)
        click.echo(json.dumps(found, indent=2))
        return
    normal = abuse_traffic.normal(seed, seconds)
    runs = [measure(normal, seed, seconds, each) for each in (FACTORS if sweep else (factor,))]
    lowest = limits_of(runs) if sweep else None
    logs = [] if sweep else [recorded(RECORDED / name) for name in (COMBINED, KONG)]
    if output == "json":
        click.echo(json.dumps({"runs": runs, "detection_limits": lowest, "recorded": logs}, indent=2))
        return
    for run in [*runs, *logs]:
        click.echo(table(run) + "\n")
    if lowest is not None:
        click.echo("lowest rate that was found within 30 s, requests a second")
        for name, rate in lowest.items():
            click.echo(f"  {name:<22}{'never' if rate is None else f'{rate:g}'}")


if __name__ == "__main__":
    main()
