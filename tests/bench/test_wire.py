"""The wire bench runs and tells what it promises. The figures themselves are not judged here."""

import os
import socket
from pathlib import Path

import pytest

from bench import messages
from bench.driver import RPC_OK, BadAnswer, drive, express_is_whole, http_is_whole
from bench.rounds import BenchError, measure, ratio, summary
from bench.servers import Servers
from bench.wire import AIMS, Settings, bench
from tests.bench.again import again


@pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="the driver needs epoll")
def test_a_tiny_run_has_the_shape() -> None:
    said: list[str] = []
    result = again(lambda: bench(Settings(1, 0.2, 4, 20, users=6, routes=3), said.append))
    assert result["version"] == 1
    assert set(AIMS) < set(result)
    assert result["ratio_to_stock_threads"] > 0
    assert result["express_ratio_to_stock_threads"] > 0
    assert set(result["driver_limit_rps"]) == {"kgate_pdk", "kgate_express"}
    for row in ("warm", "mixed"):
        systems = result["rows"][row]
        assert {"kgate_pdk", "kgate_express", "stock_threads"} <= set(systems)
        for found in systems.values():
            assert found["rps"]["min"] <= found["rps"]["median"] <= found["rps"]["max"]
            assert 0 < found["p50_us"]["median"] <= found["p99_us"]["median"]
    assert result["rows"]["mixed"]["kgate_express"]["requests"]["median"] == 20


def test_a_refusal_is_not_measured() -> None:
    servers = Servers({})
    try:
        path = servers.echo("refuses", b"%08x" % 20 + bytes(20))
        with pytest.raises(BenchError, match="28 bytes, expected 300"):
            measure("express", str(path), [[b"x"]], connections=2, seconds=0.1, least=300)
    finally:
        servers.close()
    assert not Path(servers.dir).exists()


@pytest.mark.parametrize(
    ("data", "whole"),
    [(b"00000002ab", True), (b"00000002a", False), (b"0000", False), (b"00000002abc", False)],
)
def test_express_answers_are_complete_or_not(data: bytes, whole: bool) -> None:
    assert express_is_whole(data) is whole


@pytest.mark.parametrize(
    ("data", "whole"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab", True),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\na", False),
        (b"HTTP/1.1 200 OK\r\nContent-Le", False),
    ],
)
def test_http_answers_are_complete_or_not(data: bytes, whole: bool) -> None:
    assert http_is_whole(data) is whole


def test_an_http_error_ends_the_run() -> None:
    with pytest.raises(BadAnswer, match="503"):
        http_is_whole(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n")


def test_an_rpc_error_ends_the_run() -> None:
    here, there = socket.socketpair()
    with here, there:
        there.send(b"\x94\x01\x01\xa4fail\xc0")
        with pytest.raises(BadAnswer, match="fail"):
            drive("rpc", [here], iter([[b"x"]]), 1.0, 0)


def test_the_stock_event_id_is_sent_back() -> None:
    facts = messages.record("t", 0, 0)
    first, *steps = messages.stock_request(7, facts)
    assert len(steps) == 3
    here, there = socket.socketpair()
    with here, there:
        # all answers wait already: the driver reads them one by one only if it is asked to
        there.send(RPC_OK + b"\x81\xa7EventId\x2a")
        latencies, _ = drive("stock", [here], iter([[first, steps[0]][:1]]), 1.0, 0)
        assert len(latencies) == 1
        assert there.recv(4096) == first


def test_ratio_and_summary() -> None:
    assert ratio([10.0, 30.0, 40.0], [10.0, 10.0, 10.0]) == {"median": 3.0, "min": 1.0, "max": 4.0}
    assert summary([1.4, 2.6]) == {"median": 2, "min": 1, "max": 3}
