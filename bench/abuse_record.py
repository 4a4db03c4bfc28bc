"""Records access logs of a running Kong for `bench.abuse_replay`: the combined format and Kong's JSON of one traffic.

    python -m bench.abuse_record --admin URL --proxy-port N --access-log FILE [--seconds 170] [--seed 1] FOLDER

Kong was started with KONG_TRUSTED_IPS=127.0.0.0/8, KONG_REAL_IP_HEADER=X-Forwarded-For and
KONG_PROXY_ACCESS_LOG="FILE combined". Clients and service are ours (abuse_clients.py, abuse_shop.py), the addresses
made up; Kong, its logs and their times are real. Nothing is blocked meanwhile: the replay says what would have been.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import click

from bench import abuse_clients
from bench.abuse_shop import USERS, Shop, password

HOST = "shop.example"
GUEST = str(uuid5(NAMESPACE_URL, "guest"))
COMBINED, KONG, TRUTH = "access.log.gz", "kong.json.gz", "truth.json"


def config(shop_port: int, log: Path) -> dict[str, Any]:
    """Kong's: one route to the shop, people known by basic-auth, all requests in a log."""
    users = [f"user-{number}" for number in range(USERS)]
    consumers: list[dict[str, Any]] = [{"id": GUEST, "username": "guest"}]
    consumers += [
        {
            "id": str(uuid5(NAMESPACE_URL, user)),
            "username": user,
            "basicauth_credentials": [{"username": user, "password": password(user)}],
        }
        for user in users
    ]
    return {
        "_format_version": "3.0",
        "services": [
            {
                "name": "shop",
                "url": f"http://127.0.0.1:{shop_port}",
                "routes": [{"name": "shop", "hosts": [HOST], "paths": ["/"]}],
                "plugins": [
                    {"name": "basic-auth", "config": {"anonymous": GUEST, "hide_credentials": False}}
                ],
            }
        ],
        "consumers": consumers,
        "plugins": [{"name": "file-log", "config": {"path": str(log)}}],
    }


def reduced(row: dict[str, Any]) -> dict[str, Any]:
    """A record of Kong's log without what is the same in all of them."""
    request, response = row["request"], row["response"]
    headers = {
        name: request["headers"][name]
        for name in ("user-agent", "x-anonymous-consumer")
        if name in request["headers"]
    }
    return {
        "client_ip": row["client_ip"],
        "started_at": row["started_at"],
        "request": {"method": request["method"], "uri": request["uri"], "headers": headers, "size": request["size"]},
        "response": {"status": response["status"], "size": response["size"]},
        "latencies": row["latencies"],
        "route": {"name": row["route"]["name"]},
        **({"consumer": {key: row["consumer"][key] for key in ("id", "username")}} if "consumer" in row else {}),
    }  # fmt: skip


async def run(port: int, seed: int, seconds: float, admin: str, log: Path) -> list[abuse_clients.Attacker]:
    """All clients, in real time. The attackers that there were."""
    shop = Shop()
    server = await shop.start()
    body = json.dumps(config(shop.port, log)).encode()
    request = urllib.request.Request(f"{admin}/config", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30):
        pass
    await asyncio.sleep(2)  # until all workers have it
    send = abuse_clients.sender(port, HOST)
    hostile = abuse_clients.attackers(seed, seconds)
    async with server:
        await asyncio.gather(
            *(abuse_clients.attack(who, seed, send) for who in hostile),
            *(abuse_clients.live(who, seed, seconds, send) for who in abuse_clients.people()),
            abuse_clients.crawl(seed, seconds, send),
        )
    await asyncio.sleep(2)  # until the log is written
    return hostile


def _pack(path: Path, text: str) -> None:
    # without a time in it: the same log is the same file
    path.write_bytes(gzip.compress(text.encode(), mtime=0))


@click.command()
@click.option("--admin", required=True, help="Kong's Admin API, as a URL.")
@click.option("--proxy-port", required=True, type=int, help="Kong's proxy on 127.0.0.1.")
@click.option("--access-log", required=True, type=click.Path(path_type=Path), help="Where Kong writes it.")
@click.option("--seconds", default=170.0)
@click.option("--seed", default=1)
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
def main(admin: str, proxy_port: int, access_log: Path, seconds: float, seed: int, folder: Path) -> None:
    """Record a traffic through a running Kong."""
    try:
        with urllib.request.urlopen(admin, timeout=30) as answer:
            version = json.load(answer)["version"]
    except OSError as error:
        raise click.ClickException(f"{admin}: {error}; start Kong as the module says") from error
    before = access_log.stat().st_size if access_log.exists() else 0
    with tempfile.TemporaryDirectory() as place:
        log = Path(place) / "kong.json"
        log.parent.chmod(0o777)
        hostile = asyncio.run(run(proxy_port, seed, seconds, admin, log))
        rows = [reduced(json.loads(line)) for line in log.read_text().splitlines()]
    combined = access_log.read_bytes()[before:].decode()
    folder.mkdir(parents=True, exist_ok=True)
    _pack(folder / COMBINED, combined)
    _pack(folder / KONG, "".join(json.dumps(row, separators=(",", ":")) + "\n" for row in rows))
    truth = {
        "kong": version,
        "recorded": time.strftime("%Y-%m-%d"),
        "seed": seed,
        "seconds": seconds,
        "attackers": [
            {"name": who.name, "kind": who.kind, "addresses": who.addresses, "user": who.user}
            for who in hostile
        ],
    }
    (folder / TRUTH).write_text(json.dumps(truth) + "\n")
    click.echo(f"{len(rows)} requests in {folder}")


if __name__ == "__main__":
    main()
