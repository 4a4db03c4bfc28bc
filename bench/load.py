"""HTTP load on one URL: wrk where it is on PATH, the bench's own driver otherwise."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from bench.rounds import BenchError, measure

_UNITS = {"us": 1.0, "ms": 1e3, "s": 1e6, "m": 60e6}


def generator() -> str:
    """What `load` uses here: wrk or python."""
    return "wrk" if shutil.which("wrk") else "python"


Headers = Sequence[Mapping[str, str]]


def load(url: str, headers: Headers, *, connections: int, seconds: float, with_wrk: bool) -> dict[str, Any]:
    """One measurement: requests/s, p50 and p99 in microseconds. Each request takes the next one of the headers.
    Raises BenchError when an answer is not 2xx."""
    if with_wrk:
        return _wrk(url, headers, connections, seconds)
    parts = urlsplit(url)
    requests = []
    for each in headers:
        lines = [f"GET {parts.path} HTTP/1.1", f"Host: {parts.netloc}"]
        lines += [f"{name}: {value}" for name, value in each.items()]
        requests.append(["\r\n".join([*lines, "", ""]).encode()])
    address = (parts.hostname or "127.0.0.1", parts.port or 80)
    found = measure("http", address, requests, cycle=True, connections=connections, seconds=seconds)
    return {name: found[name] for name in ("rps", "p50_us", "p99_us")}


def _wrk(url: str, headers: Headers, connections: int, seconds: float) -> dict[str, Any]:
    command = ["wrk", "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--latency"]
    with tempfile.TemporaryDirectory(prefix="kgate-wrk-") as folder:
        if len(headers) == 1:
            for name, value in headers[0].items():
                command += ["-H", f"{name}: {value}"]
        else:
            script = Path(folder) / "requests.lua"
            script.write_text(_script(headers))
            command += ["-s", str(script)]
        done = subprocess.run([*command, url], capture_output=True, text=True, timeout=seconds + 60)
    return parse_wrk(done.stdout, f"{url}: {done.stderr}")


def _script(headers: Headers) -> str:
    """For wrk: the requests, written once before the load begins."""
    lines = ["local all, at = {}, 0"]
    for each in headers:
        pairs = ", ".join(f"[{json.dumps(name)}] = {json.dumps(value)}" for name, value in each.items())
        lines.append(f"all[#all + 1] = {{ {pairs} }}")
    lines += [
        "function init() for i = 1, #all do all[i] = wrk.format('GET', nil, all[i]) end end",
        "function request() at = at % #all + 1; return all[at] end",
    ]
    return "\n".join(lines) + "\n"


def parse_wrk(text: str, where: str) -> dict[str, Any]:
    """What wrk prints as numbers. Raises BenchError when it had errors or answers that are not 2xx or 3xx."""
    rate = re.search(r"Requests/sec:\s+([0-9.]+)", text)
    times = {
        name: float(value) * _UNITS[unit]
        for name, value, unit in re.findall(r"^\s+(50|99)%\s+([0-9.]+)(us|ms|s|m)\s*$", text, re.MULTILINE)
    }
    bad = re.search(r"(Non-2xx or 3xx responses: \d+|Socket errors: .*)", text)
    if rate is None or len(times) != 2 or bad:
        raise BenchError(f"{where} {bad.group(1) if bad else text}")
    return {"rps": float(rate[1]), "p50_us": times["50"], "p99_us": times["99"]}
