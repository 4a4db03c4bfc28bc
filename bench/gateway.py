"""Load through a Kong that runs already, with the routes of examples/bench (its README has the commands).

    python -m bench.gateway --proxy express=http://127.0.0.1:8000 --routes base,lua,express

Targets are measured in turn within each round, so that each ratio compares neighbours in time:

    base     no plugin; lua: Kong's own jwt + ip-restriction + rate-limiting
    pdk      in a Kong of the pdk lane: `passport` (alone) and `all` four gate plugins
    express  in a Kong of the express lane: the same two
    limited  in each of these lanes: all four, and a limit by address as in `lua`

With one user nearly all verdicts of `express` but `limited` stand by a lease (docs/protocol.md). --users 20000 shows
what they cost where hardly any does: each user comes back after a second or two.

`base` and `lua` are taken from the Kong named `bare=URL`, which knows nothing of kgate; without one, from each
lane's own Kong, where the adapter's two global plugins run on them as well.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import click
import jwt

from bench.load import Headers, generator, load
from bench.rounds import BenchError, machine, ratio, summarise
from bench.upstream import Upstream

LANES = ("pdk", "express")
PLAIN = ("base", "lua")
LIMITED = "limited"
AIMS = {
    "express all / lua": 3.5,
    "express all / base": 0.55,
    "pdk passport / lua": 1.8,
    "pdk all / lua": 0.6,
}


class Target(NamedTuple):
    """One thing to measure: `name` as in the report, `url` with the path."""

    name: str
    url: str
    route: str


def parse_proxies(values: Sequence[str], routes: Sequence[str]) -> dict[str, str]:
    """URLs by lane (or `bare`). A URL without a name is that of the one lane in `routes`.

    Raises BenchError.
    """
    lanes = [lane for lane in LANES if lane in routes]
    proxies: dict[str, str] = {}
    for value in values:
        name, equals, url = value.partition("=")
        if not equals or "/" in name:
            if len(lanes) > 1:
                raise BenchError(f"--proxy {value}: say which lane it is: express={value} or pdk={value}")
            name, url = (lanes or ["bare"])[0], value
        if name not in (*LANES, "bare"):
            raise BenchError(f"--proxy {value}: {name} is none of pdk, express, bare")
        proxies[name] = url.rstrip("/")
    missing = [lane for lane in lanes if lane not in proxies]
    if missing or not proxies:
        raise BenchError(f"--proxy {(missing or ['bare'])[0]}=URL is missing")
    return proxies


def targets(proxies: Mapping[str, str], routes: Sequence[str]) -> list[Target]:
    """What to measure, in order."""
    plain = [route for route in PLAIN if route in routes]
    found = [
        Target(f"bare {route}", f"{proxies['bare']}/{route}", route) for route in plain if "bare" in proxies
    ]
    for lane in LANES:
        if lane not in routes:
            continue
        if "bare" not in proxies:
            found += [Target(f"{lane} {route}", f"{proxies[lane]}/{route}", route) for route in plain]
        gated = ("passport", "all", LIMITED) if LIMITED in routes else ("passport", "all")
        found += [Target(f"{lane} {route}", f"{proxies[lane]}/{route}", route) for route in gated]
    return found


def token(secret: str, user: int = 1) -> str:
    """A token that both Kong's jwt plugin and passport take."""
    now = int(time.time())
    claims = {"iss": "bench-issuer", "aud": "bench", "sub": f"user-{user}", "iat": now, "exp": now + 3600}
    return jwt.encode(claims, secret, algorithm="HS256")


def bench(
    wanted: Sequence[Target],
    headers: Headers,
    rounds: int,
    seconds: float,
    connections: int,
    say: Any,
    warm_up: float = 1.0,
) -> dict[str, Any]:
    """Measure all targets in turn, `rounds` times. Raises BenchError."""
    measured: dict[str, list[dict[str, Any]]] = {target.name: [] for target in wanted}
    with_wrk = generator() == "wrk"

    def once(target: Target, length: float) -> dict[str, Any]:
        return load(target.url, headers, connections=connections, seconds=length, with_wrk=with_wrk)

    for target in wanted:
        once(target, warm_up)
    for number in range(rounds):
        for target in wanted:
            say(f"round {number + 1}/{rounds}: {target.name}")
            measured[target.name].append(once(target, seconds))
    return {
        "targets": {name: summarise(each) for name, each in measured.items()},
        "ratios": _ratios(measured),
    }


def _ratios(measured: Mapping[str, list[dict[str, Any]]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    rps = {name: [each["rps"] for each in rounds] for name, rounds in measured.items()}
    for name in rps:
        lane, route = name.split(" ")
        for plain in PLAIN if route not in PLAIN else ():
            below = rps.get(f"bare {plain}", rps.get(f"{lane} {plain}"))
            if below is None:
                continue
            key = f"{name} / {plain}"
            found[key] = ratio(rps[name], below)
            if key in AIMS:
                found[key] |= {"aim": AIMS[key], "met": found[key]["median"] >= AIMS[key]}
    return found


def human(result: Mapping[str, Any]) -> str:
    """The result as a table."""
    lines = [f"{'':18} {'requests/s':>10} {'spread':>15} {'p50 us':>8} {'p99 us':>8}"]
    for name, found in result["targets"].items():
        rps = found["rps"]
        spread = f"{rps['min']}-{rps['max']}"
        p50, p99 = found["p50_us"]["median"], found["p99_us"]["median"]
        lines.append(f"{name:18} {rps['median']:>10} {spread:>15} {p50:>8} {p99:>8}")
    for name, found in result["ratios"].items():
        aim = f"  aim >= {found['aim']}: {'met' if found['met'] else 'NOT met'}" if "aim" in found else ""
        lines.append(f"{name:24} {found['median']:.2f} ({found['min']:.2f}-{found['max']:.2f}){aim}")
    return "\n".join(lines)


def _listen_address(env: Mapping[str, str]) -> str:
    try:
        return env["BENCH_UPSTREAM_TARGET"]
    except KeyError:
        raise BenchError("BENCH_UPSTREAM_TARGET is not set: see examples/bench/README.md") from None


def run(
    proxy: Sequence[str], routes: str, upstream: bool, measure: Callable[..., dict[str, Any]], users: int = 1
) -> Any:
    """Start the upstream, measure with requests of so many users in turn, end it. Raises BenchError."""
    names = [name.strip() for name in routes.split(",") if name.strip()]
    unknown = [name for name in names if name not in (*PLAIN, *LANES, LIMITED)]
    if unknown:
        raise BenchError(f"--routes: {unknown[0]} is none of base, lua, pdk, express, limited")
    wanted = targets(parse_proxies(proxy, names), names)
    secret = os.environ.get("BENCH_SECRET", "")
    if not secret:
        raise BenchError("BENCH_SECRET is not set: see examples/bench/README.md")
    about = machine()
    server = Upstream(_listen_address(os.environ)) if upstream else None
    try:
        tokens = (token(secret, user) for user in range(1, users + 1))
        result = measure(wanted, [{"Authorization": f"Bearer {each}"} for each in tokens])
    finally:
        if server is not None:
            server.close()
    about |= {"generator": generator(), "upstream": server.kind if server else "external", "users": users}
    return {"version": 1, "machine": about, **result}


@click.command()
@click.option("--proxy", multiple=True, required=True, metavar="[LANE=]URL", help="May be repeated.")
@click.option("--routes", default="base,lua,pdk,express", show_default=True)
@click.option("--rounds", type=click.IntRange(1), default=5, show_default=True)
@click.option("--seconds", type=float, default=3.0, show_default=True, help="Of one measurement.")
@click.option("--connections", type=click.IntRange(1, 500), default=32, show_default=True)
@click.option(
    "--users", type=click.IntRange(1, 50_000), default=1, show_default=True, help="Tokens, in turn."
)
@click.option("--upstream/--no-upstream", default=True, help="Start the service at BENCH_UPSTREAM_TARGET.")
@click.option("--json", "as_json", is_flag=True, help="JSON on stdout.")
def main(
    proxy: tuple[str, ...],
    routes: str,
    rounds: int,
    seconds: float,
    connections: int,
    users: int,
    upstream: bool,
    as_json: bool,
) -> None:
    """Load through a running Kong that has the config of examples/bench.

    \b
    Examples:
      python -m bench.gateway --proxy http://127.0.0.1:8000 --routes base,lua,express
      python -m bench.gateway --proxy express=http://127.0.0.1:8000 --proxy pdk=http://127.0.0.1:8100
    """

    def measure(wanted: Sequence[Target], headers: Headers) -> dict[str, Any]:
        return bench(wanted, headers, rounds, seconds, connections, lambda text: click.echo(text, err=True))

    try:
        result = run(proxy, routes, upstream, measure, users)
    except BenchError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(1)
    click.echo(json.dumps(result, indent=1) if as_json else human(result))


if __name__ == "__main__":
    main()
