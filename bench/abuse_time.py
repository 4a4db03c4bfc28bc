"""Processor time of abuse-guard's two passes, for a request that goes on.

    python -m bench.abuse_time [--output json|human]

known      1,000 clients who come again
new        clients who were never seen: nothing of them is in a cache
stranger   the pass before passport: blocks, limits by address and route, what scenarios need to know
user       the pass after it: user and token blocks, limits by user

Microseconds, of several rounds the fastest: what other work on the machine takes is not ours. 10,000 addresses are
blocked, and nobody of these.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import click

from kong_plugins.abuse_guard import shipped
from kong_plugins.abuse_guard.config import parse
from kong_plugins.abuse_guard.core import decide_identified, decide_stranger
from kong_plugins.engine.chain import Filter
from kong_plugins.engine.facts import Facts, Identity
from kong_plugins.state.base import Block, State
from kong_plugins.state.cells import Cells
from kong_plugins.state.snapshot import build

NOW = 1_800_000_000.0
KNOWN, NEW, ROUNDS, NEW_ROUNDS = 1_000, 10_000, 30, 6
AGENT = "Mozilla/5.0 (X11; Linux x86_64; rv:109.0) Gecko/20100101 Firefox/115.0"


def _limit(part: str) -> dict[str, Any]:
    return {"name": f"per-{part}", "key": [part], "rate": 1e5, "burst": 100_000}


_SCENARIOS = [{"use": name} for name in shipped.SCENARIOS]
CONFIGS: dict[str, dict[str, Any]] = {
    "blocks alone": {},
    "limit by ip": {"limits": [_limit("ip")]},
    "by ip and user": {"limits": [_limit("ip"), _limit("user")]},
    "by ip, route, user": {"limits": [_limit("ip"), _limit("route"), _limit("user")]},
    "ip, user, scenarios": {"limits": [_limit("ip"), _limit("user")], "scenarios": _SCENARIOS},
}


class Row(NamedTuple):
    """Microseconds of a config's passes."""

    known_stranger: float
    known_user: float
    new_stranger: float
    new_user: float


def request(number: int) -> Facts:
    """A request whose user is verified, from an address of his own."""
    address = f"{11 + (number >> 16)}.{number >> 8 & 255}.{number & 255}.7"
    path = f"/shops/{number % 500}"
    who = Identity("https://auth.example.com", f"user-{number}", f"id-{number}", token=b"0123456789abcdef")
    return Facts(
        f"r-{number}", address, "https", "GET", "shop.example.com", path, path, "checkout", "checkout", "order",
        "", frozenset(), {"user-agent": AGENT}, who,
    )  # fmt: skip


def _mean(decide: Filter, config: Any, state: State, requests: Sequence[Facts]) -> float:
    started = time.thread_time_ns()
    for facts in requests:
        decide(facts, config, state, NOW)
    return (time.thread_time_ns() - started) / len(requests) / 1000


def measure(raw: dict[str, Any], rounds: int = ROUNDS, new_rounds: int = NEW_ROUNDS, new: int = NEW) -> Row:
    """One config."""
    blocks = [Block("ip", f"45.{n >> 8}.{n & 255}.9", "r", "a", 0.0, None) for n in range(10_000)]
    cells = Cells.attach(Cells.create())
    cells.use_own_clock()
    state = State(build(1, blocks, ()), None, {}, cells)  # type: ignore[arg-type] # no filter asks it
    config = parse(raw)
    known = [request(number) for number in range(KNOWN)]
    strange = [[request(KNOWN + each * new + number) for number in range(new)] for each in range(new_rounds)]
    found = [
        min(_mean(decide, config, state, requests) for requests in every)
        for every in ([known] * rounds, strange)
        for decide in (decide_stranger, decide_identified)
    ]
    cells.close()
    return Row(*(round(each, 2) for each in found))


@click.command()
@click.option("--output", type=click.Choice(["human", "json"]), default="human")
def main(output: str) -> None:
    """Measure abuse-guard's decision."""
    rows = {name: measure(raw) for name, raw in CONFIGS.items()}
    if output == "json":
        click.echo(json.dumps({name: row._asdict() for name, row in rows.items()}, indent=2))
        return
    click.echo(
        f"{'us':<22}{'known: stranger':>16}{'user':>7}{'both':>7}   {'new: stranger':>14}{'user':>7}{'both':>7}"
    )
    for name, row in rows.items():
        known, strange = row.known_stranger + row.known_user, row.new_stranger + row.new_user
        click.echo(
            f"{name:<22}{row.known_stranger:>16.2f}{row.known_user:>7.2f}{known:>7.2f}   "
            f"{row.new_stranger:>14.2f}{row.new_user:>7.2f}{strange:>7.2f}"
        )


if __name__ == "__main__":
    main()
