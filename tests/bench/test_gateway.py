"""The gateway bench: what it measures, its ratios, and a run with its own load generator."""

from typing import Any

import pytest

from bench import gateway
from bench.bare import bare
from bench.load import load, parse_wrk
from bench.rounds import BenchError
from bench.upstream import Upstream
from tests.bench.again import again
from tests.ports import free_port

WRK = """Running 1s test @ http://127.0.0.1:1/
  Latency Distribution
     50%    1.50ms
     75%    2.00ms
     90%    3.00ms
     99%  900.00us
  100 requests in 1.00s, 1.00MB read
Requests/sec:  12345.67
"""


def test_wrk_output() -> None:
    assert parse_wrk(WRK, "x") == {"rps": 12345.67, "p50_us": 1500.0, "p99_us": 900.0}


@pytest.mark.parametrize("line", ["  Non-2xx or 3xx responses: 3", "  Socket errors: connect 1, read 0"])
def test_wrk_with_errors_is_no_measurement(line: str) -> None:
    with pytest.raises(BenchError, match=line.strip()[:12]):
        parse_wrk(WRK + line + "\n", "x")


@pytest.mark.parametrize(
    ("values", "routes", "expected"),
    [
        (["http://a/"], ["base", "express"], {"express": "http://a"}),
        (["http://a"], ["base"], {"bare": "http://a"}),
        (
            ["pdk=http://a", "express=http://b"],
            ["pdk", "express"],
            {"pdk": "http://a", "express": "http://b"},
        ),
        (["http://a/?x=y"], ["pdk"], {"pdk": "http://a/?x=y"}),
    ],
)
def test_proxies(values: list[str], routes: list[str], expected: dict[str, str]) -> None:
    assert gateway.parse_proxies(values, routes) == expected


@pytest.mark.parametrize(
    ("values", "routes", "message"),
    [
        (["http://a"], ["pdk", "express"], "say which lane"),
        (["pdk=http://a"], ["pdk", "express"], "express=URL is missing"),
        (["fast=http://a"], ["pdk"], "none of"),
        (["express=http://a"], ["base", "pdk"], "pdk=URL is missing"),
    ],
)
def test_proxies_that_do_not_fit(values: list[str], routes: list[str], message: str) -> None:
    with pytest.raises(BenchError, match=message):
        gateway.parse_proxies(values, routes)


def test_plain_routes_come_from_the_bare_kong_where_there_is_one() -> None:
    names = ["base", "lua", "express"]
    own = [each.name for each in gateway.targets({"express": "http://e"}, names)]
    assert own == ["express base", "express lua", "express passport", "express all"]
    limited = gateway.targets({"express": "http://e"}, [*names, "limited"])
    assert [each.url for each in limited][-1] == "http://e/limited"
    both = gateway.targets({"express": "http://e", "bare": "http://b"}, names)
    assert [each.name for each in both] == ["bare base", "bare lua", "express passport", "express all"]


def test_bare_config() -> None:
    plugins = [{"name": "jwt"}, {"name": "passport"}, {"name": "kgate"}]
    config = {"plugins": plugins, "services": [{"routes": [{"plugins": plugins, "name": "all"}]}]}
    left = [{"name": "jwt"}]
    assert bare(config) == {"plugins": left, "services": [{"routes": [{"plugins": left, "name": "all"}]}]}


@pytest.fixture
def address() -> str:
    return f"127.0.0.1:{free_port()}"


def test_a_tiny_run_has_the_shape(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")  # no wrk, no nginx
    monkeypatch.setenv("BENCH_SECRET", "0123456789abcdef0123456789abcdef")
    monkeypatch.setenv("BENCH_UPSTREAM_TARGET", address)

    def measure(wanted: Any, headers: list[dict[str, str]]) -> dict[str, Any]:
        assert len({each["Authorization"] for each in headers}) == 3
        assert headers[0]["Authorization"].startswith("Bearer ey")
        return gateway.bench(wanted, headers, 1, 0.1, 2, lambda _text: None, warm_up=0.05)

    result = again(lambda: gateway.run([f"http://{address}"], "base,lua,express", True, measure, 3))
    assert result["machine"]["generator"] == "python"
    assert result["machine"]["upstream"] == "python"
    assert set(result["targets"]) == {f"express {name}" for name in ("base", "lua", "passport", "all")}
    found = result["ratios"]["express all / lua"]
    assert found["aim"] == 3.5
    assert found["median"] > 0
    assert "express all / base" in gateway.human(result)


def test_the_load_generator_counts_good_answers(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    server = Upstream(address)
    try:
        found = load(f"http://{address}/x", [{"X-A": "1"}, {}], connections=2, seconds=0.1, with_wrk=False)
    finally:
        server.close()
    assert found["rps"] > 0
    assert found["p50_us"] <= found["p99_us"]
