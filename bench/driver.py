"""The load driver of both benches: keeps N connections busy with one request each, and measures.

It plays Kong over a plugin socket (or a client over TCP) and runs as a process of its own: a job in
MessagePack on stdin, the result as JSON on stdout. It is kept light, so that it has room to spare: all
messages come ready packed, sockets are raw, and an answer is only looked at for its first bytes and its length.

A request is a list of messages; the next one is sent when the answer to the one before is there. Kinds:

    express  answers are 8 hexadecimal digits of length and a body
    mux      express messages, sent as the adapter does: numbered, all requests on 4 connections
    rpc      answers are [1, 1, nil, result] in MessagePack: all messages have the id 1
    stock    as rpc; the EventId of the first answer is appended, packed, to each message after it
    http     answers are HTTP/1.1 responses with a Content-Length and the status 200
"""

from __future__ import annotations

import gc
import itertools
import json
import os
import select
import socket
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import msgpack

RPC_OK = b"\x94\x01\x01\xc0"
SILENCE = 10.0
"""Seconds without any answer after which the run is given up."""


class BadAnswer(Exception):
    """The server did not do the work that is measured: a figure would mean nothing."""


def express_is_whole(data: bytes) -> bool:
    return len(data) > 8 and len(data) == 8 + int(data[:8], 16)


def rpc_is_whole(data: bytes) -> bool:
    # our servers send an answer with one call, and a unix socket keeps it together
    return data.startswith(RPC_OK)


def http_is_whole(data: bytes) -> bool:
    head = data.find(b"\r\n\r\n")
    if head < 0:
        return False
    at = data.lower().find(b"\r\ncontent-length:", 0, head)
    if at < 0:
        raise BadAnswer(f"no Content-Length: {data[:200]!r}")
    size = int(data[at + 17 : data.find(b"\r\n", at + 2)])
    if not data.startswith(b"HTTP/1.1 200"):
        raise BadAnswer(repr(data[:300]))
    return len(data) == head + 4 + size


WHOLE: dict[str, Callable[[bytes], bool]] = {
    "express": express_is_whole,
    "rpc": rpc_is_whole,
    "stock": rpc_is_whole,
    "http": http_is_whole,
}

_TICKS = os.sysconf("SC_CLK_TCK")


def with_children(pids: Iterable[int]) -> list[int]:
    """Processes and all that they have started (Linux)."""
    found = list(pids)
    for pid in found:
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/children") as file:
                found += map(int, file.read().split())
    return found


def cpu_seconds(pids: Iterable[int]) -> float | None:
    """CPU time of processes and their children so far, user and system; None where there is no /proc."""
    total = 0.0
    try:
        for pid in with_children(pids):
            with open(f"/proc/{pid}/stat", "rb") as file:
                fields = file.read().rpartition(b")")[2].split()
            total += (int(fields[11]) + int(fields[12])) / _TICKS
    except OSError:
        return None
    return total


def connect(address: Any, count: int) -> list[socket.socket]:
    """Connections to a unix socket (a path) or to [host, port]."""
    made = []
    for _ in range(count):
        sock = socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET)
        sock.connect(address if isinstance(address, str) else tuple(address))
        if not isinstance(address, str):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        made.append(sock)
    return made


def drive(
    kind: str,
    sockets: list[socket.socket],
    requests: Iterator[list[bytes]],
    seconds: float,
    least: int,
) -> tuple[list[float], float]:
    """Send requests until `seconds` are over or none is left. The latencies, and the seconds that it took.

    least: bytes that the longest answer of a request has at least, a shorter one is a refusal.
    Raises BadAnswer.
    """
    whole, stock = WHOLE[kind], kind == "stock"
    clock = time.perf_counter
    pack, unpack = msgpack.packb, msgpack.unpackb
    poll = select.epoll()
    by_fd = {sock.fileno(): sock for sock in sockets}
    state: dict[int, list[Any]] = {}
    latencies: list[float] = []
    begin = clock()
    until = begin + seconds
    for fd, sock in by_fd.items():
        request = next(requests, None)
        if request is None:
            break
        poll.register(fd, select.EPOLLIN)
        # recv, send, the request, messages sent, start, longest answer, packed EventId, what came so far
        state[fd] = [sock.recv, sock.send, request, 1, clock(), 0, b"", b""]
        sock.send(request[0])
    busy = len(state)
    while busy:
        ready = poll.poll(SILENCE)
        if not ready:
            raise BadAnswer(f"{busy} requests had no answer for {SILENCE:g} s")
        for fd, _ in ready:
            entry = state[fd]
            data = entry[0](65536)
            if entry[7] or not whole(data):
                if not data:
                    raise BadAnswer("the server closed the connection")
                data = entry[7] + data
                if not whole(data):
                    if kind in ("rpc", "stock"):
                        raise BadAnswer(repr(data[:300]))
                    entry[7] = data
                    continue
                entry[7] = b""
            if len(data) > entry[5]:
                entry[5] = len(data)
            step = entry[3]
            request = entry[2]
            if step < len(request):
                if stock:
                    if step == 1:
                        entry[6] = pack(unpack(data)[3]["EventId"])
                    entry[1](request[step] + entry[6])
                else:
                    entry[1](request[step])
                entry[3] = step + 1
                continue
            now = clock()
            latencies.append(now - entry[4])
            if entry[5] < least:
                raise BadAnswer(f"{entry[5]} bytes, expected {least}: {data[:300]!r}")
            following = next(requests, None) if now < until else None
            if following is None:
                busy -= 1
                continue
            entry[2:6] = following, 1, now, 0
            entry[1](following[0])
    took = clock() - begin
    poll.close()
    return latencies, took


def drive_shared(
    sockets: list[socket.socket],
    requests: Iterator[list[bytes]],
    at_once: int,
    seconds: float,
    least: int,
) -> tuple[list[float], float]:
    """As `drive`, with `at_once` requests under way that share the connections (operation `M`)."""
    clock = time.perf_counter
    poll = select.epoll()
    latencies: list[float] = []
    waiting: dict[int, float] = {}
    numbers = itertools.count(65_536)  # five bytes each, last in question and answer

    def questions(count: int) -> bytes:
        parts = []
        for request in itertools.islice(requests, count):
            number = next(numbers)
            waiting[number] = clock()
            parts += b"\x94\xa1M", request[0][3:], b"\xce", number.to_bytes(4, "big")
        return b"".join(parts)

    begin = clock()
    until = begin + seconds
    state: dict[int, list[Any]] = {}
    for place, sock in enumerate(sockets):
        poll.register(sock.fileno(), select.EPOLLIN)
        state[sock.fileno()] = [sock, b"", set()]
        sock.sendall(questions(len(range(place, at_once, len(sockets)))))
    while waiting:
        ready = poll.poll(SILENCE)
        if not ready:
            raise BadAnswer(f"{len(waiting)} requests had no answer for {SILENCE:g} s")
        for fd, _ in ready:
            sock, rest, told = state[fd]
            data = sock.recv(262_144)
            if not data:
                raise BadAnswer("the server closed the connection")
            data = rest + data
            now, at, count = clock(), 0, 0
            while len(data) - at >= 4:
                end = at + 4 + int.from_bytes(data[at : at + 4], "big")
                if end > len(data):
                    break
                if data[at + 4 : at + 8] == BEAT:
                    at = end
                    continue
                if data[at + 4 : at + 7] == AGAIN:
                    is_good = True
                elif data[at + 4 : at + 8] == SHORT:
                    is_good = int.from_bytes(data[at + 8 : at + 12], "big") in told
                else:
                    is_good = end - at >= least
                    told.add(msgpack.unpackb(data[at + 4 : end]).get("d") if is_good else None)
                if not is_good or data[end - 7 : end - 4] != b"\xa1q\xce":
                    raise BadAnswer(
                        f"{end - at} bytes, expected {least} and a number: {data[at:end][:300]!r}"
                    )
                latencies.append(now - waiting.pop(int.from_bytes(data[end - 4 : end], "big")))
                at, count = end, count + 1
            state[fd][1] = data[at:]
            if count and now < until:
                sock.sendall(questions(count))
    took = clock() - begin
    poll.close()
    return latencies, took


SHORT = b"\x83\xa1r\xce"
"""How an answer begins that names a verdict which was told before on the connection (docs/protocol.md)."""
AGAIN = b"\x84\xa1r"
"""The same with a lease, which is of no use here: this driver asks for every request."""
BEAT = b"\x82\xa1b\xce"
"""No answer: which leases hold."""
SHARED = 4
"""Connections of the adapter's worker (mux.lua)."""


def run(job: dict[str, Any]) -> dict[str, Any]:
    """One measurement; `job` is what `measure` in rounds.py sends."""
    shared = job["kind"] == "mux"
    sockets = connect(job["address"], SHARED if shared else job["connections"])
    try:
        if job["warm_up"]:
            drive("express" if shared else job["kind"], sockets, iter(job["warm_up"]), 60.0, 0)
        requests = itertools.cycle(job["requests"]) if job["cycle"] else iter(job["requests"])
        gc.collect()
        gc.freeze()
        gc.disable()
        before, own = cpu_seconds(job["pids"]), time.process_time()
        if shared:
            latencies, took = drive_shared(
                sockets, requests, job["connections"], job["seconds"], job["least"]
            )
        else:
            latencies, took = drive(job["kind"], sockets, requests, job["seconds"], job["least"])
        own = time.process_time() - own
        after = cpu_seconds(job["pids"])
    finally:
        for sock in sockets:
            sock.close()
    latencies.sort()
    count = len(latencies)
    used = None if before is None or after is None or not job["pids"] else after - before
    return {
        "requests": count,
        "rps": count / took,
        "p50_us": latencies[count // 2] * 1e6,
        "p99_us": latencies[min(count - 1, count * 99 // 100)] * 1e6,
        "cpu_us": None if used is None else used / count * 1e6,
        "driver_cpu_us": own / count * 1e6,
    }


def main() -> None:
    job = msgpack.unpackb(sys.stdin.buffer.read(), strict_map_key=False)
    try:
        result = run(job)
    except (BadAnswer, OSError) as error:
        result = {"error": f"{type(error).__name__}: {error}"}
    json.dump(result, sys.stdout)


if __name__ == "__main__":
    main()
