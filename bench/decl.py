"""What the declarative side costs with 10,000 entities, in seconds and as ratios.

    python -m bench.decl [--entities 10000] [--json] [--only offline,dbless,db,writes]

offline   load + validate + lint + render, and the memory that it takes (its own process)
dbless    a sync that changes nothing, 4 nodes, after the files are loaded: one GET /status each
db        a diff that finds nothing against the stand-in with a database: lists, compare, no write
writes    1,000 changes in DB mode against the same requests sent raw over as many kept connections

The stand-in is the sandbox, in a process of its own; what it needs for an answer is in both sides of a ratio.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

NODES = 4
CHANGES = 1000
WORKERS = 10
ROUNDS = 8
SLICE = 100


def document(entities: int) -> dict[str, Any]:
    """Services with two routes and two plugins each, and as many consumers with a key."""
    services = []
    for number in range(entities // 8):
        name = f"service-{number:05d}"
        routes = [
            {
                "name": f"{name}-{r}",
                "hosts": [f"{name}.example.com"],
                "paths": [f"/{r}"],
                "methods": ["GET", "PUT"],
            }
            for r in ("read", "write")
        ]
        plugins: list[dict[str, Any]] = [
            {"name": "key-auth", "config": {"key_names": ["apikey"]}},
            {"name": "cors", "config": {"origins": ["https://www.example.com"]}},
        ]
        services.append(
            {
                "name": name,
                "url": f"http://{name}.internal:8080/api",
                "tags": ["bench"],
                "routes": routes,
                "plugins": plugins,
            }
        )
    consumers = [
        {
            "username": f"user-{number:05d}",
            "keyauth_credentials": [{"name": "k", "key": f"key-of-user-{number:05d}"}],
            "jwt_secrets": [{"key": f"jwt-{number:05d}", "secret": "0123456789abcdef0123456789abcdef"}],
        }
        for number in range(entities // 8)
    ]
    return {"_format_version": "3.0", "services": services, "consumers": consumers}


@contextmanager
def node(database: bool) -> Iterator[str]:
    """The Admin API of a stand-in in a process of its own."""
    env = {**os.environ, "BENCH_DB": "postgres" if database else "off"}
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.decl", "--node"],
        stdout=subprocess.PIPE,
        stdin=subprocess.PIPE,
        env=env,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdin is not None
    try:
        yield process.stdout.readline().strip()
    finally:
        process.stdin.close()
        process.wait(10)
        process.stdout.close()


def serve_node() -> None:
    """Run a stand-in until stdin ends."""
    import asyncio

    from kong_plugins.kong_env import ADAPTER_DIR
    from sandbox.app import Sandbox

    async def run() -> None:
        sandbox = Sandbox(
            {
                "KONG_DATABASE": os.environ["BENCH_DB"],
                "KONG_PLUGINS": "bundled,kgate,kgate-facts",
                "KONG_LUA_PACKAGE_PATH": f"{ADAPTER_DIR}/common/?.lua;;",
                "KONG_PROXY_LISTEN": "127.0.0.1:0",
                "KONG_ADMIN_LISTEN": "127.0.0.1:0",
                "KONG_SANDBOX_PROPAGATION": "60s",
            }
        )
        await sandbox.start()
        print(sandbox.admin_url, flush=True)
        await asyncio.to_thread(sys.stdin.read)
        await sandbox.stop()

    asyncio.run(run())


def offline(entities: int) -> dict[str, float]:
    """In a process of its own: the memory is the highest that it had."""
    import yaml

    from decl.load import Text
    from decl.project import open_project
    from decl.render import render

    text = yaml.dump(document(entities), Dumper=yaml.CSafeDumper, sort_keys=False).encode()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.perf_counter()
    project = open_project([Text("gateway.yaml", text)], {})
    loaded = time.perf_counter()
    assert project.gateway is not None, project.findings[:3]
    content = render(project.gateway, "default").content
    done = time.perf_counter()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "seconds": done - started,
        "check_seconds": loaded - started,
        "render_seconds": done - loaded,
        "megabytes": peak / 1024,
        "megabytes_before": before / 1024,
        "yaml_megabytes": len(text) / 1e6,
        "json_megabytes": len(content) / 1e6,
    }


def rendered(entities: int) -> Any:
    """The rendered config, without the checks."""
    from decl.build import build
    from decl.load import Text, load
    from decl.render import render
    from decl.tenants import expand

    text = json.dumps(document(entities)).encode()
    return render(expand(build(load([Text("gateway.yaml", text)]).document)), "default")


def dbless(entities: int) -> dict[str, float]:
    """No-op sync of NODES nodes."""
    from contextlib import ExitStack

    from decl.admin import AdminClient
    from decl.apply import push
    from decl.compare import compare_dbless
    from decl.source import Sources

    config = rendered(entities)
    with ExitStack() as stack:
        urls = [stack.enter_context(node(False)) for _ in range(NODES)]
        clients = [stack.enter_context(AdminClient(url, timeout=60)) for url in urls]
        started = time.perf_counter()
        results = push(clients, config, Sources(()), strategy="all-at-once")
        pushed = time.perf_counter() - started
        assert {result.state for result in results} == {"changed"}, results
        started = time.perf_counter()
        seen = compare_dbless(clients, config)
        noop = time.perf_counter() - started
        assert seen.settled
    return {"noop_seconds": noop, "push_seconds": pushed, "nodes": NODES}


def fill(client: Any, flat: Any) -> float:
    """Write everything; the seconds that it took."""
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


def database(entities: int) -> dict[str, float]:
    """A diff that finds nothing."""
    from decl.admin import AdminClient
    from decl.compare import compare_db
    from decl.flatten import flatten
    from decl.live import read_live

    flat = flatten(rendered(entities).document)
    with node(True) as url, AdminClient(url, timeout=60) as client:
        filled = fill(client, flat)
        times, reads = [], []
        for _ in range(3):
            started = time.perf_counter()
            seen = compare_db([client], flat)
            times.append(time.perf_counter() - started)
            assert not seen.changes
            started = time.perf_counter()
            read_live(client)
            reads.append(time.perf_counter() - started)
    return {"diff_seconds": min(times), "read_seconds": min(reads), "fill_seconds": filled}


def writes(entities: int) -> dict[str, float]:
    """CHANGES updates by kgate, and the same requests raw over as many connections."""
    from decl.admin import AdminClient
    from decl.apply_db import apply
    from decl.build import build
    from decl.diff import diff
    from decl.flatten import flatten
    from decl.http import Pool
    from decl.live import read_live, schemas_of
    from decl.load import Text, load
    from decl.render import render
    from decl.retry import Sender
    from decl.tenants import expand
    from decl.writes import write

    # a service, its two routes and its plugin change: four of the eight entities that each has
    small = document(min(entities, CHANGES * 2))
    small["consumers"] = []

    def flat_of(source: dict[str, Any]) -> Any:
        return flatten(
            render(expand(build(load([Text("f", json.dumps(source).encode())]).document)), "default").document
        )

    with node(True) as url, AdminClient(url, timeout=60) as client:
        old = flat_of(small)
        fill(client, old)
        for service in small["services"]:
            service["retries"] = 1
            service["plugins"][1]["config"]["max_age"] = 60
            for route in service["routes"]:
                route["preserve_host"] = True
        new = flat_of(small)
        schemas = schemas_of(client)
        there = diff(new, read_live(client), schemas).changes[:CHANGES]
        back = diff(old, new, schemas).changes[:CHANGES]
        pool = Pool(url, timeout=60)

        def one(item: tuple[str, str, bytes]) -> int:
            return pool.request(*item, {"Content-Type": "application/json"}).status

        def by_kgate(part: slice) -> tuple[float, float]:
            changes = there[part]
            started, used = time.perf_counter(), time.process_time()
            applied = apply(changes, Sender(client), schemas, workers=WORKERS)
            took = time.perf_counter() - started, time.process_time() - used
            assert applied.done == len(changes), applied.reason
            return took

        def raw(part: slice) -> tuple[float, float]:
            requests = [
                (w.method, w.path, json.dumps(w.body).encode())
                for w in (write(change) for change in back[part])
            ]
            started, used = time.perf_counter(), time.process_time()
            with ThreadPoolExecutor(WORKERS) as threads:
                assert set(threads.map(one, requests)) == {200}
            return time.perf_counter() - started, time.process_time() - used

        # In slices that take turns, and of each the best of all rounds: what else the machine does meanwhile comes
        # and goes within a whole run, and makes a slice slower only.
        parts = [slice(at, at + SLICE) for at in range(0, len(there), SLICE)]
        runs: list[dict[str, list[tuple[float, float]]]] = [{"kgate": [], "raw": []} for _ in parts]
        for number in range(ROUNDS):
            for part, times in zip(parts, runs, strict=True):
                for side in ("kgate", "raw") if number % 2 else ("raw", "kgate"):
                    times[side].append((by_kgate if side == "kgate" else raw)(part))
        pool.close()

    def best(side: str, which: int) -> float:
        return sum(min(run[which] for run in times[side]) for times in runs)

    return {
        "changes": len(there),
        "seconds": best("kgate", 0),
        "raw_seconds": best("raw", 0),
        "ratio_to_raw": best("raw", 0) / best("kgate", 0),
        "cpu_seconds": best("kgate", 1),
        "raw_cpu_seconds": best("raw", 1),
    }


PARTS = {"offline": offline, "dbless": dbless, "db": database, "writes": writes}


def main() -> None:
    """Run the parts, each in a process of its own, and print what they say."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--entities", type=int, default=10_000)
    parser.add_argument("--only", default=",".join(PARTS))
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    parser.add_argument("--node", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.node:
        serve_node()
        return
    if args.part:
        print(json.dumps(PARTS[args.part](args.entities)))
        return
    found: dict[str, Any] = {"entities": args.entities}
    for name in args.only.split(","):
        command = [sys.executable, "-m", "bench.decl", "--part", name, "--entities", str(args.entities)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        found[name] = json.loads(done.stdout)
    if args.json:
        print(json.dumps(found))
        return
    for name, values in found.items():
        if isinstance(values, dict):
            print(f"{name}: " + ", ".join(f"{key} {value:.3g}" for key, value in values.items()))


if __name__ == "__main__":
    main()
