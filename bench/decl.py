"""What the declarative side costs with 10,000 entities, in seconds and as ratios.

    python -m bench.decl [--entities 10000] [--json] [--only offline,dbless,db,writes]
    python -m bench.decl --admin http://127.0.0.1:8001     # db and writes on a Kong with an empty Postgres

offline   load + validate + lint + render, and the memory that it takes (its own process)
dbless    `kgate sync` that changes nothing, 4 nodes, from when the files are loaded to its end
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
from contextlib import contextmanager
from typing import Any

from bench.decl_writes import CHANGES, fill, flat_of, measure

NODES = 4


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


def dbless(entities: int) -> dict[str, float]:
    """`kgate sync` of NODES nodes that have the config already, from the end of loading on: lock, look, report."""
    import tempfile
    from contextlib import ExitStack
    from unittest import mock

    import yaml
    from click.testing import CliRunner

    from cli.commands import sync as command
    from cli.main import main

    opened = command.open_target
    loaded = 0.0

    def noted(*args: Any, **more: Any) -> Any:
        nonlocal loaded
        target = opened(*args, **more)
        loaded = time.perf_counter()
        return target

    def sync(folder: str) -> tuple[float, float, str]:
        """Seconds after loading, those of the whole command, and what it said."""
        started = time.perf_counter()
        found = CliRunner().invoke(main, ["-f", f"{folder}/gateway.yaml", "sync", "--yes"])
        ended = time.perf_counter()
        assert found.exit_code == 0, found.output[-2000:]
        return ended - loaded, ended - started, found.stdout

    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        urls = [stack.enter_context(node(False)) for _ in range(NODES)]
        stack.enter_context(mock.patch.object(command, "open_target", noted))
        stack.enter_context(mock.patch.dict(os.environ, KGATE_HISTORY=f"{folder}/history"))
        os.environ.pop("REDIS_URL", None)
        config = {**document(entities), "clusters": {"one": {"nodes": urls, "trusted_ips": []}}}
        with open(f"{folder}/gateway.yaml", "wb") as file:
            yaml.dump(config, file, Dumper=yaml.CSafeDumper, sort_keys=False, encoding="utf-8")
        with open(f"{folder}/.kgate.yaml", "w") as file:
            file.write("rules: {literal-secret: off}\n")  # 2,500 warnings are no part of it
        pushed, _, told = sync(folder)
        assert told.count(": changed") == NODES, told
        runs = [sync(folder) for _ in range(3)]
        assert all(told.count(": unchanged") == NODES for *_, told in runs)
    return {
        "noop_seconds": min(run[0] for run in runs),
        "noop_command_seconds": min(run[1] for run in runs),
        "push_seconds": pushed,
        "nodes": NODES,
    }


@contextmanager
def database_of(admin: str | None) -> Iterator[str]:
    """A stand-in with a database, or the given Kong, which must be empty and is empty again afterwards."""
    if admin is None:
        with node(True) as url:
            yield url
        return
    from decl.admin import AdminClient
    from decl.kinds import KINDS
    from decl.live import read_live

    with AdminClient(admin, timeout=60) as client:
        if any(read_live(client).values()):
            raise SystemExit(
                f"{admin}: there are entities; the benchmark wants a Kong with an empty database"
            )
        try:
            yield admin
        finally:
            fill(client, {kind: {} for kind in KINDS})


def database(entities: int, admin: str | None, rounds: int) -> dict[str, float]:
    """A diff that finds nothing."""
    from decl.admin import AdminClient
    from decl.compare import compare_db
    from decl.live import read_live

    flat = flat_of(document(entities))
    with database_of(admin) as url, AdminClient(url, timeout=60) as client:
        filled = fill(client, flat)
        times, reads = [], []
        for _ in range(rounds):
            started = time.perf_counter()
            seen = compare_db([client], flat)
            times.append(time.perf_counter() - started)
            assert not seen.changes
            started = time.perf_counter()
            read_live(client)
            reads.append(time.perf_counter() - started)
    return {
        "diff_seconds": min(times),
        "diff_seconds_most": max(times),
        "read_seconds": min(reads),
        "fill_seconds": filled,
    }


def writes(entities: int, admin: str | None, rounds: int) -> dict[str, float]:
    """CHANGES updates by kgate, and the same requests raw."""
    small = document(min(entities, CHANGES * 2))
    small["consumers"] = []
    with database_of(admin) as url:
        return measure(url, small, rounds)


PARTS = {"offline": offline, "dbless": dbless, "db": database, "writes": writes}
OF_A_DATABASE = ("db", "writes")


def main() -> None:
    """Run the parts, each in a process of its own, and print what they say."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--entities", type=int, default=10_000)
    parser.add_argument("--only", help=f"default: {','.join(PARTS)}; with --admin: {','.join(OF_A_DATABASE)}")
    parser.add_argument("--admin", help="a Kong with an empty database, in the stand-in's place")
    parser.add_argument("--rounds", type=int, default=5, help="of db and writes")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    parser.add_argument("--node", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.node:
        serve_node()
        return
    if args.part:
        more = (args.admin, args.rounds) if args.part in OF_A_DATABASE else ()
        print(json.dumps(PARTS[args.part](args.entities, *more)))
        return
    found: dict[str, Any] = {"entities": args.entities}
    names = args.only.split(",") if args.only else OF_A_DATABASE if args.admin else PARTS
    for name in names:
        command = [sys.executable, "-m", "bench.decl", "--part", name, "--entities", str(args.entities)]
        command += ["--rounds", str(args.rounds), *(["--admin", args.admin] if args.admin else [])]
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
