"""The plugin server alone, against the stock one: a driver plays Kong over the plugin sockets.

    python -m bench.wire --json          # make bench-wire

Two rows. `warm`: one user with one token on one route. `mixed`: 1,000 users on 200 routes with configs of
their own, every second request with a token that the server has never seen. Systems, in turn within each round:

    kgate_pdk      kgate serve, pdk lane, passport alone: 2 messages a request
    kgate_express  the same process, express lane, all four plugins: 1 message a request; they share 4 connections
    stock_threads  kong-python-pluginserver with a plugin of three PDK calls that verifies nothing: 4 messages
    stock_gevent   the same with gevent
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import click

from bench import messages
from bench.rounds import BenchError, machine, measure, ratio, summarise, summary
from bench.servers import STOCK, Servers, start_instances
from bench.tokens import Issuer

USERS, ROUTES = 1000, 200
LEAST_VERDICT = 300
"""Bytes: a verdict with a passport is longer, a refusal shorter."""
AIMS = {
    "ratio_to_stock_threads": 8.0,
    "ratio_to_stock_gevent": 3.0,
    "express_ratio_to_stock_threads": 15.0,
}
AIM_CPU_US, AIM_P99_TO_P50 = 60.0, 5.0


class Settings(NamedTuple):
    """seconds: of one measurement; mixed: requests of one measurement of the mixed row."""

    rounds: int
    seconds: float
    connections: int
    mixed: int
    users: int = USERS
    routes: int = ROUTES


class System(NamedTuple):
    """One server as the driver sees it; `routes` make a request's messages from its facts, by route."""

    kind: str
    path: Path
    pid: int
    least: int
    routes: Sequence[Any]

    def request(self, facts: list[Any], route: int) -> messages.Request:
        found = self.routes[route]
        if self.kind == "mux":
            made: messages.Request = found.request(facts)
            return made
        return (messages.pdk_request if self.kind == "rpc" else messages.stock_request)(found, facts)


def start(servers: Servers, settings: Settings) -> dict[str, System]:
    """All systems, with the configs of all routes."""
    numbers = range(settings.routes)
    process, pdk, express = servers.kgate()
    ids = start_instances(pdk, "passport", [messages.configs(number)["passport"] for number in numbers])
    systems = {
        "kgate_pdk": System("rpc", pdk, process.pid, LEAST_VERDICT, ids),
        "kgate_express": System(
            "mux", express, process.pid, LEAST_VERDICT, [messages.ExpressRoute(n) for n in numbers]
        ),
    }
    for mode in ("threads", "gevent"):
        found = servers.stock(mode)
        if found is not None:
            stock, path = found
            ids = start_instances(path, STOCK, [{"label": f"route-{number}"} for number in numbers])
            systems[f"stock_{mode}"] = System("stock", path, stock.pid, 0, ids)
    return systems


class Load:
    """The requests of both rows."""

    def __init__(self, issuer: Issuer, settings: Settings) -> None:
        self._issuer = issuer
        self._settings = settings
        self._warm = [issuer.token(user) for user in range(settings.users)]

    def _user(self, user: int, token: str) -> tuple[list[Any], int]:
        route = user % self._settings.routes
        return messages.record(token, route, user), route

    def introductions(self, system: System) -> list[messages.Request]:
        """Tells the express lane all configs."""
        if system.kind != "mux":
            return []
        facts = (messages.record(self._warm[0], route, 0) for route in range(self._settings.routes))
        return [
            system.routes[route].introduction(each) for route, each in zip(range(10**6), facts, strict=False)
        ]

    def warm(self, system: System) -> list[messages.Request]:
        """One token, one route."""
        return [system.request(*self._user(0, self._warm[0]))]

    def known_users(self, system: System) -> list[messages.Request]:
        """Each user once with the token that stays."""
        return [system.request(*self._user(user, token)) for user, token in enumerate(self._warm)]

    def mixed(self, system: System, seed: int) -> Iterator[messages.Request]:
        """Users at random; every second request has a token of which this is the first use."""
        pick = random.Random(seed)
        for number in range(self._settings.mixed):
            user = pick.randrange(self._settings.users)
            token = self._issuer.token(user) if number % 2 else self._warm[user]
            yield system.request(*self._user(user, token))


def driver_limit(servers: Servers, systems: dict[str, System], load: Load, settings: Settings) -> Any:
    """Requests/s of the driver against a server that does nothing, with the messages of both lanes."""
    replies = {
        "kgate_pdk": b"\x94\x01\x01\xc0\xc5\x02\x58" + bytes(600),
        "kgate_express": b"%08x" % 700 + bytes(700),
    }
    found = {}
    for name, reply in replies.items():
        system = systems[name]
        path = servers.echo(f"echo-{name}", reply)
        rounds = [
            measure(
                "express" if system.kind == "mux" else system.kind,
                str(path),
                load.warm(system),
                connections=settings.connections,
                seconds=settings.seconds,
            )
            for _ in range(settings.rounds)
        ]
        found[name] = summary([each["rps"] for each in rounds])
    return found


def bench(settings: Settings, say: Any) -> dict[str, Any]:
    """Run it all; say(text) is told what is going on. Raises BenchError."""
    issuer = Issuer()
    servers = Servers(issuer.anchor())
    measured: dict[str, dict[str, list[dict[str, Any]]]] = {"warm": {}, "mixed": {}}
    about = machine()
    try:
        systems = start(servers, settings)
        load = Load(issuer, settings)
        say("the driver's own limit")
        limit = driver_limit(servers, systems, load, settings)
        for number in range(settings.rounds):
            for name, system in systems.items():
                say(f"round {number + 1}/{settings.rounds}: {name}")
                common: dict[str, Any] = {
                    "connections": settings.connections,
                    "seconds": settings.seconds,
                    "least": system.least,
                    "pids": [system.pid],
                }
                before = load.introductions(system) + load.warm(system) * 200
                warm = measure(system.kind, str(system.path), load.warm(system), warm_up=before, **common)
                requests = list(load.mixed(system, number))
                common["seconds"] = 30.0 if system.least else settings.seconds
                mixed = measure(
                    system.kind,
                    str(system.path),
                    requests,
                    warm_up=load.known_users(system),
                    cycle=False,
                    **common,
                )
                measured["warm"].setdefault(name, []).append(warm)
                measured["mixed"].setdefault(name, []).append(mixed)
    finally:
        servers.close()
    return report(settings, about, limit, measured)


def report(settings: Settings, about: Any, limit: Any, measured: Any) -> dict[str, Any]:
    """The JSON: ratios at the top, then what they come from."""

    def to(above: str, below: str) -> dict[str, float] | None:
        warm = measured["warm"]
        if below not in warm:
            return None
        return ratio([each["rps"] for each in warm[above]], [each["rps"] for each in warm[below]])

    ratios = {
        "ratio_to_stock_threads": to("kgate_pdk", "stock_threads"),
        "ratio_to_stock_gevent": to("kgate_pdk", "stock_gevent"),
        "express_ratio_to_stock_threads": to("kgate_express", "stock_threads"),
    }
    rows = {
        row: {name: summarise(rounds) for name, rounds in systems.items()}
        for row, systems in measured.items()
    }
    aims: dict[str, Any] = {
        name: {"aim": f">= {aim:g}", "met": None if ratios[name] is None else ratios[name]["median"] >= aim}
        for name, aim in AIMS.items()
    }
    for name in ("kgate_pdk", "kgate_express"):
        row = rows["warm"][name]
        if row["cpu_us"] is not None:
            aims[f"{name}_cpu_us"] = {
                "aim": f"<= {AIM_CPU_US:g}",
                "met": row["cpu_us"]["median"] <= AIM_CPU_US,
            }
        times = row["p99_us"]["median"] / row["p50_us"]["median"]
        aims[f"{name}_p99_to_p50"] = {
            "aim": f"<= {AIM_P99_TO_P50:g}",
            "value": round(times, 1),
            "met": times <= AIM_P99_TO_P50,
        }
    return {
        "version": 1,
        **{name: None if found is None else found["median"] for name, found in ratios.items()},
        "spread": ratios,
        "aims": aims,
        "driver_limit_rps": limit,
        "settings": settings._asdict(),
        "machine": about,
        "rows": rows,
    }


def human(result: dict[str, Any]) -> str:
    """The same as a table."""
    lines = [f"{'':6} {'':14} {'requests/s':>10} {'spread':>15} {'p50 us':>8} {'p99 us':>8} {'CPU us':>7}"]
    for row, systems in result["rows"].items():
        for name, found in systems.items():
            rps, cpu = found["rps"], found["cpu_us"]
            spread = f"{rps['min']}-{rps['max']}"
            used = "-" if cpu is None else f"{cpu['median']:.1f}"
            p50, p99 = found["p50_us"]["median"], found["p99_us"]["median"]
            lines.append(f"{row:6} {name:14} {rps['median']:>10} {spread:>15} {p50:>8} {p99:>8} {used:>7}")
    for name, found in result["driver_limit_rps"].items():
        lines.append(f"the driver's own limit with the messages of {name}: {found['median']} requests/s")
    for name in AIMS:
        lines.append(f"{name}: {result[name]} (aim {result['aims'][name]['aim']})")
    return "\n".join(lines)


@click.command()
@click.option("--rounds", type=click.IntRange(1), default=5, show_default=True)
@click.option("--seconds", type=float, default=2.0, show_default=True, help="Of one measurement.")
@click.option("--connections", type=click.IntRange(1, 500), default=32, show_default=True)
@click.option(
    "--mixed", type=click.IntRange(2), default=6000, show_default=True, help="Requests of that row."
)
@click.option("--json", "as_json", is_flag=True, help="JSON on stdout.")
def main(rounds: int, seconds: float, connections: int, mixed: int, as_json: bool) -> None:
    """Measure kgate serve and kong-python-pluginserver with the same driver in one run.

    \b
    Example:
      python -m bench.wire --json > wire.json
    """
    settings = Settings(rounds, seconds, connections, mixed)
    try:
        result = bench(settings, lambda text: click.echo(text, err=True))
    except BenchError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(1)
    click.echo(json.dumps(result, indent=1) if as_json else human(result))


if __name__ == "__main__":
    main()
