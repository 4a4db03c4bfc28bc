"""Rounds: one measurement is a driver process; several of them make a median and a spread."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgpack

ROOT = Path(__file__).resolve().parent.parent
TRIES = 4


class BenchError(Exception):
    """The bench cannot go on: the message says what to do."""


def measure(
    kind: str,
    address: str | tuple[str, int],
    requests: Sequence[Sequence[bytes]],
    *,
    connections: int,
    seconds: float,
    cycle: bool = True,
    warm_up: Sequence[Sequence[bytes]] = (),
    least: int = 0,
    pids: Sequence[int] = (),
) -> dict[str, Any]:
    """Run the driver once (bench/driver.py). seconds: the longest that it sends new requests.

    cycle: begin again with the first request after the last one. least: bytes of a good answer. pids: the
    processes whose CPU time is counted. Raises BenchError.
    """
    job = {
        "kind": kind,
        "address": address if isinstance(address, str) else list(address),
        "requests": requests,
        "cycle": cycle,
        "warm_up": warm_up,
        "connections": connections,
        "seconds": seconds,
        "least": least,
        "pids": pids,
    }
    for left in reversed(range(TRIES)):
        result = _drive(job, seconds)
        if "error" not in result:
            return result
        if not left or "ConnectionResetError" not in result["error"]:
            raise BenchError(f"{kind} {address}: {result['error']}")
        # the machine held up the server, which then closes what waited: that run says nothing
    raise AssertionError("not tried")


def _drive(job: dict[str, Any], seconds: float) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "bench.driver"],
        input=msgpack.packb(job),
        capture_output=True,
        cwd=ROOT,
        timeout=seconds + 120,
    )
    if done.returncode:
        raise BenchError(f"the driver failed:\n{done.stderr.decode()[-2000:]}")
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def summary(values: Sequence[float], digits: int = 0) -> dict[str, float]:
    """Median and spread of one figure over the rounds."""
    rounded = [round(value, digits) if digits else round(value) for value in values]
    middle = statistics.median(values)
    return {
        "median": round(middle, digits) if digits else round(middle),
        "min": min(rounded),
        "max": max(rounded),
    }


def summarise(rounds: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Each figure of the rounds as median and spread; null where it could not be had."""
    found: dict[str, Any] = {}
    for name in rounds[0]:
        values = [each[name] for each in rounds if each[name] is not None]
        found[name] = summary(values, 1 if name.endswith("cpu_us") else 0) if values else None
    return found


def ratio(above: Sequence[float], below: Sequence[float]) -> dict[str, float]:
    """Ratio round by round: neighbours in time had the same machine."""
    return summary([a / b for a, b in zip(above, below, strict=True)], 2)


def machine() -> dict[str, Any]:
    """What the figures were made on."""
    return {
        "cpus": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "load_average": round(os.getloadavg()[0], 2),
    }
