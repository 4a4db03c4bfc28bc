"""A service that hangs, with and without static-fallback, at a steady rate of requests.

    python -m bench.outage                                     on the sandbox
    python -m bench.outage --admin URL --proxy URL --run-dir DIR    on a running Kong of the express lane

Four phases on each of two services (`plain`, `pack`) of one upstream that hangs during the third:

    calm      all is well
    errors    five percent random 500s, which the breaker must not take for an outage
    outage    every request hangs
    after     all is well again

For each: the share of requests that were answered by the service or a prepared answer (not by Kong's error), p50 and
p99, and how many connections the service held at most. The outage is told apart into before and after the opening.
Requests are started by the clock, whatever the answers do (open loop).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import click

from bench.rounds import ROOT, BenchError

PHASES = ("calm", "errors", "outage", "after")
ERROR_SHARE = 0.05
KGATE = [sys.executable, "-m", "cli.main"]


class Answer(NamedTuple):
    """One request. at: seconds since its phase began; fallback: the reason of a prepared answer, or ""."""

    at: float
    seconds: float
    status: int
    fallback: str


class HangingService:
    """The service: `mode` is calm, errors or hang."""

    def __init__(self, hang: float, seed: int = 1) -> None:
        self.mode, self._hang = "calm", hang
        self._drawn = random.Random(seed)
        self.held = self.most = 0
        self.port = 0
        self._writers: set[asyncio.StreamWriter] = set()

    async def start(self) -> None:
        """Listen on a free loopback port."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, backlog=4096)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Stop listening, end all connections."""
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        while self._writers:
            await asyncio.sleep(0.01)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
                while await reader.readuntil(b"\r\n\r\n"):
                    self.held += 1
                    self.most = max(self.most, self.held)
                    try:
                        writer.write(await self._answer(reader))
                        await writer.drain()
                    finally:
                        self.held -= 1
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader) -> bytes:
        if self.mode == "hang":
            with contextlib.suppress(TimeoutError):  # until the time is over, or the gateway goes away
                await asyncio.wait_for(reader.read(1), self._hang)
        if self.mode == "errors" and self._drawn.random() < ERROR_SHARE:
            return b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 3\r\n\r\nbad"
        return b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def document(admin: str, run_dir: Path, port: int, per_try: float) -> dict[str, Any]:
    """The configuration that is measured."""
    times = {"connect_timeout": 500, "read_timeout": round(per_try * 1000), "retries": 0}
    fallback = {
        "responses": [
            {"on": ["refused", "timeout", "no_target", 502, "open"], "name": "rest", "json": {"ok": False}}
        ],
        "breaker": {"window_size": 2, "open_seconds": 2, "open_max_seconds": 8, "half_open_permits": 2},
    }
    plugins = {"plain": [], "pack": [{"name": "static-fallback", "config": fallback}]}
    return {
        "_format_version": "3.0",
        "clusters": {"bench": {"mode": "dbless", "nodes": [admin], "run_dir": str(run_dir)}},
        "services": [
            {
                "name": name,
                "url": f"http://127.0.0.1:{port}",
                "routes": [{"name": name, "paths": [f"/{name}"]}],
                "plugins": plugins[name],
                **times,
            }
            for name in plugins
        ],
    }


async def drive(session: aiohttp.ClientSession, url: str, rate: float, seconds: float) -> list[Answer]:
    """Start `rate` requests a second for so many seconds; all answers, when the last one is here."""
    found: list[Answer] = []
    begin = time.perf_counter()

    async def one() -> None:
        started = time.perf_counter()
        try:
            async with session.get(url) as answer:
                await answer.read()
                why = answer.headers.get("X-Fallback", "").partition("reason=")[2]
                status = answer.status
        except (aiohttp.ClientError, TimeoutError):
            status, why = 0, ""
        ended = time.perf_counter()
        found.append(Answer(started - begin, ended - started, status, why))

    tasks = set()
    for number in range(round(rate * seconds)):
        wait = begin + number / rate - time.perf_counter()
        if wait > 0:
            await asyncio.sleep(wait)
        task = asyncio.create_task(one())
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    if tasks:
        await asyncio.wait(tasks)
    return found


def figures(answers: list[Answer]) -> dict[str, Any]:
    """Shares in percent, times in milliseconds."""
    if not answers:
        return {"requests": 0}
    times = sorted(answer.seconds * 1000 for answer in answers)
    count = len(answers)
    real = sum(1 for answer in answers if answer.status == 200 and not answer.fallback)
    given = sum(1 for answer in answers if answer.fallback)
    return {
        "requests": count,
        "answered": round(100 * (real + given) / count, 2),
        "real": round(100 * real / count, 2),
        "others": dict(
            Counter(str(answer.status) for answer in answers if answer.status != 200 and not answer.fallback)
        ),
        "opened": sum(1 for answer in answers if answer.fallback == "open"),
        "p50_ms": round(times[count // 2], 2),
        "p99_ms": round(times[min(count - 1, int(count * 0.99))], 2),
    }


def split(answers: list[Answer]) -> dict[str, Any]:
    """An outage, before the first answer of an open breaker and from then on."""
    first = min((answer.at for answer in answers if answer.fallback == "open"), default=float("inf"))
    return {
        "opened_after_s": None if first == float("inf") else round(first, 2),
        "before": figures([answer for answer in answers if answer.at < first]),
        "open": figures([answer for answer in answers if answer.at >= first]),
    }


async def measure(
    service: HangingService, url: str, rate: float, lengths: dict[str, float]
) -> dict[str, Any]:
    """All phases on one service."""
    report: dict[str, Any] = {}
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=60)) as session:
        await drive(session, url, rate, 1)  # connections, configs
        for phase in PHASES:
            service.mode = {"errors": "errors", "outage": "hang"}.get(phase, "calm")
            service.most = 0
            answers = await drive(session, url, rate, lengths[phase])
            report[phase] = {**figures(answers), "held": service.most}
            if phase == "outage":
                report[phase].update(split(answers))
                service.mode = "calm"
                report[phase]["recovered_after_s"] = await _until_real(session, url)
    return report


async def _until_real(session: aiohttp.ClientSession, url: str) -> float:
    """Seconds until the service answers everybody again: the breaker's last pause is over, its trials went well."""
    began, in_a_row = time.perf_counter(), 0
    while in_a_row < 20:
        if time.perf_counter() - began > 30:
            raise BenchError("the service is not asked again")
        async with session.get(url) as answer:
            real = answer.status == 200 and "X-Fallback" not in answer.headers
        in_a_row = in_a_row + 1 if real else 0
        await asyncio.sleep(0.02)
    return round(time.perf_counter() - began, 2)


def misses(report: dict[str, Any], per_try: float) -> list[str]:
    """What the pack did not keep."""
    pack = report["pack"]
    found = [
        f"{phase}: {pack[phase]['real']}% real answers"
        for phase in ("calm", "after")
        if pack[phase]["real"] < 99.9
    ]
    if pack["errors"]["opened"]:
        found.append("errors: it opened at five percent")
    outage = pack["outage"]
    if outage["answered"] < 100:
        found.append(f"outage: {outage['answered']}% answered")
    if outage["before"].get("p99_ms", 0) > 1.2 * per_try * 1000:
        found.append(f"outage: p99 {outage['before']['p99_ms']} ms before the opening")
    if outage["opened_after_s"] is None or outage["open"]["p99_ms"] > 10:
        found.append(f"outage: p99 {outage['open'].get('p99_ms')} ms after the opening")
    return found


@contextlib.contextmanager
def gateway(admin: str, proxy: str, run_dir: Path, folder: Path) -> Iterator[tuple[str, str]]:
    """`kgate serve`, and the sandbox where no Kong is given; their Admin API and proxy."""
    processes = []

    def start(name: str, *args: str) -> dict[str, Any]:
        with (folder / f"{name}.log").open("w") as log:
            process = subprocess.Popen(
                [*KGATE, *args, "--output", "json"], stdout=subprocess.PIPE, stderr=log, text=True, cwd=ROOT
            )
        processes.append(process)
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("{"):
                found: dict[str, Any] = json.loads(line)
                return found
        raise BenchError(f"{name} did not start:\n{(folder / f'{name}.log').read_text()[-2000:]}")

    try:
        (folder / "server.yaml").write_text("issuers: []\n")
        start(
            "serve",
            "serve",
            "--run-dir",
            str(run_dir),
            "--config",
            str(folder / "server.yaml"),
            "--workers",
            "1",
        )
        if not admin:
            listen = ("--proxy-listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0")
            ready = start("sandbox", "sandbox", "--run-dir", str(run_dir), "--lane", "express", *listen)
            admin, proxy = ready["admin"], ready["proxy"]
        yield admin, proxy
    finally:
        for process in reversed(processes):
            process.terminate()
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if process.stdout is not None:
                process.stdout.close()


async def run(
    admin: str,
    proxy: str,
    run_dir: Path,
    folder: Path,
    rate: float,
    lengths: dict[str, float],
    per_try: float,
) -> dict[str, Any]:
    """Start everything, measure both services, end everything. Raises BenchError."""
    service = HangingService(lengths["outage"])
    await service.start()
    try:
        with gateway(admin, proxy, run_dir, folder) as (admin_url, proxy_url):
            path = folder / "gateway.yaml"
            path.write_text(json.dumps(document(admin_url, run_dir, service.port, per_try)))
            command = [*KGATE, "-f", str(path), "sync", "--yes", "--max-deletes", "100000"]
            done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
            if done.returncode:
                raise BenchError(f"the configuration was not taken: {done.stdout}{done.stderr}")
            report: dict[str, Any] = {"rate": rate, "per_try_timeout": per_try, "seconds": lengths}
            for name in ("plain", "pack"):
                report[name] = await measure(service, f"{proxy_url}/{name}", rate, lengths)
    finally:
        await service.close()
    report["misses"] = misses(report, per_try)
    return report


@click.command()
@click.option("--admin", default="", help="Admin API of a running Kong; without it the sandbox is started.")
@click.option("--proxy", default="", help="Its proxy.")
@click.option(
    "--run-dir", type=click.Path(path_type=Path), help="Where that Kong looks for the plugin server."
)
@click.option("--rate", default=200.0, show_default=True, help="Requests a second.")
@click.option("--outage", default=30.0, show_default=True, help="Seconds of the outage.")
@click.option("--calm", default=10.0, show_default=True, help="Seconds of each other phase.")
@click.option("--per-try", default=0.5, show_default=True, help="Per-try timeout in seconds.")
def main(
    admin: str, proxy: str, run_dir: Path | None, rate: float, outage: float, calm: float, per_try: float
) -> None:
    """Measure an outage with and without the pack, as JSON; exit code 1 when an aim was missed."""
    lengths = {"calm": calm, "errors": calm, "outage": outage, "after": calm}
    with tempfile.TemporaryDirectory(prefix="kgate-outage-") as name:
        folder = Path(name)
        report = asyncio.run(run(admin, proxy, run_dir or folder / "run", folder, rate, lengths, per_try))
    click.echo(json.dumps(report, indent=2))
    sys.exit(1 if report["misses"] else 0)


if __name__ == "__main__":
    main()
