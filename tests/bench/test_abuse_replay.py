"""The replay: attacks are found, people are left alone, and it reads real logs."""

import gzip
import json
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from bench import abuse_logs, abuse_replay, abuse_run, abuse_traffic
from bench.abuse_traffic import Request

SECONDS = 110.0
COMBINED = (
    "{ip} - - [10/Oct/2026:13:{minute:02d}:{second:02d} +0000] "
    '"GET {path} HTTP/1.1" {status} 12 "-" "Mozilla/5.0"'
)


@pytest.fixture(scope="module")
def run() -> dict[str, Any]:
    return abuse_replay.measure(abuse_traffic.normal(3, SECONDS), 3, SECONDS, 1.0)


def test_nobody_else_is_refused(run: dict[str, Any]) -> None:
    assert run["normal_requests"] > 10_000
    assert (run["false"], run["wrong"]) == (0, [])


@pytest.mark.parametrize("name", [attack.name for attack in abuse_traffic.ATTACKS])
def test_every_attack_is_found_within_30_s(run: dict[str, Any], name: str) -> None:
    row = run["scenarios"][name]
    assert (row["recall"], row["precision"]) == (1.0, 1.0)
    assert row["delay"] <= abuse_replay.AIM_SECONDS


def test_a_false_block_is_told_of_its_scenario(monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody scans paths and is called normal: what was refused him is a false block of that scenario alone."""
    scanner = [
        Request(10 + n / 4, "93.184.216.34", "GET", f"/a{n}", 404, "Mozilla/5.0") for n in range(200)
    ]  # fmt: skip
    others = [Request(n / 4, "93.184.216.35", "GET", "/", 200, "Mozilla/5.0") for n in range(200)]
    monkeypatch.setattr(abuse_traffic, "attacks", lambda *_: ([], {}))
    found = abuse_replay.measure([*scanner, *others], 1, 60.0, 1.0)
    by_scenario = {name: row["false"] for name, row in found["scenarios"].items() if row["false"]}
    assert list(by_scenario) == ["path-scan"]
    assert by_scenario["path-scan"] == found["false"] > 100
    assert found["scenarios"]["path-scan"]["false_share"] == found["false"] / 400
    lines = {line.split()[0]: line.split()[-1] for line in abuse_replay.table(found).splitlines()}
    assert lines["scenario"] == "false"
    assert lines["path-scan"] == f"{found['false'] / 400:.3%}"
    assert lines["network-burst"] == "0.000%"


@pytest.mark.parametrize(
    ("scenario", "normal"),
    [
        (
            "token-sharing",
            [Request(10 + n, f"93.184.{n}.34", "GET", "/", 200, "M", "u", "t") for n in range(100)],
        ),
        (
            "network-burst",
            [Request(10 + n / 20, f"93.184.216.{n % 200 + 1}", "GET", "/", 403, "M") for n in range(2000)],
        ),
    ],
)
def test_a_false_block_of_a_token_or_a_network_is_told_of_its_scenario(
    scenario: str, normal: list[Request]
) -> None:
    result = abuse_run.Replay().run(normal)
    assert result.refused[""] > 10
    assert result.refused_for == {scenario: result.refused[""]}


def test_the_same_seed_makes_the_same_traffic() -> None:
    assert abuse_traffic.normal(5, 20) == abuse_traffic.normal(5, 20)
    assert abuse_traffic.attacks(5, 100, 1) == abuse_traffic.attacks(5, 100, 1)
    assert abuse_traffic.normal(5, 20) != abuse_traffic.normal(6, 20)


def test_the_normal_traffic_is_what_it_says() -> None:
    requests = abuse_traffic.normal(1, 600)
    logins = [request.status for request in requests if request.path == "/api/login"]
    assert 0.015 < logins.count(401) / len(logins) < 0.06
    behind = {request.user for request in requests if request.ip == abuse_traffic.NAT_ADDRESS}
    assert len(behind) > 1300
    noon = [request for request in requests if request.path == "/coupons/redeem"]
    assert min(request.time for request in noon) >= 300
    assert len(noon) > 2000


def test_detection_limits_are_read_off_a_sweep() -> None:
    def one(factor: float, delay: float | None) -> dict[str, Any]:
        row = {"rate": factor, "delay": delay, "recall": 0 if delay is None else 1}
        return {"factor": factor, "scenarios": {attack.name: row for attack in abuse_traffic.ATTACKS}}

    found = abuse_replay.limits_of([one(0.1, None), one(0.5, 29), one(1, 31), one(2, 12), one(5, 3)])
    assert set(found.values()) == {2}, "0.5 was luck: 1 was not found in time"


def test_a_users_log_tells_what_would_be_blocked(tmp_path: Path) -> None:
    lines = [
        COMBINED.format(
            ip="93.184.216.34", minute=n // 60, second=n % 60, path=f"/x%2e/../a{n}?q=1", status=404
        )
        for n in range(90)
    ]
    lines += [COMBINED.format(ip="93.184.216.35", minute=1, second=1, path="/", status=200), "nonsense"]
    file = tmp_path / "access.log"
    file.write_text("\n".join(lines))
    done = CliRunner().invoke(abuse_replay.main, ["--log", str(file)])
    assert done.exit_code == 0, done.output
    told = json.loads(done.output)
    assert (told["requests"], told["unreadable"]) == (91, 1)
    assert [found["key"] for found in told["found"]] == ["ip 93.184.216.34"]
    assert told["refused_by"].keys() == {"ip_blocked"}


@pytest.mark.parametrize("packed", [False, True])
def test_kongs_own_log_goes_through_the_command(tmp_path: Path, packed: bool) -> None:
    def line(ip: str, at: int, path: str, status: int) -> str:
        request = {"method": "GET", "uri": path, "headers": {"user-agent": "Mozilla/5.0"}}
        return json.dumps(
            {"client_ip": ip, "started_at": at, "request": request, "response": {"status": status}}
        )

    start = 1_795_464_777_455
    lines = [line("93.184.216.34", start + 1000 * n, f"/a{n}?q=1", 404) for n in range(90)]
    lines += [line("93.184.216.35", start, "/", 200), '{"request": {}}']
    file = tmp_path / ("kong.log.gz" if packed else "kong.log")
    raw = "\n".join(lines).encode()
    file.write_bytes(gzip.compress(raw) if packed else raw)
    done = CliRunner().invoke(abuse_replay.main, ["--log", str(file)])
    assert done.exit_code == 0, done.output
    told = json.loads(done.output)
    assert (told["requests"], told["unreadable"]) == (91, 1)
    (found,) = told["found"]
    assert (found["scenario"], found["kind"], found["key"]) == ("path-scan", "block.add", "ip 93.184.216.34")
    assert 25 <= found["time"] <= 60, "seconds from the first line"
    assert told["refused_by"] == {"ip_blocked": told["refused"]}
    assert told["refused_for"] == {"path-scan": told["refused"]}


def test_a_log_of_months_with_odd_lines_takes_seconds(tmp_path: Path) -> None:
    line = COMBINED.format(ip="{ip}", minute=1, second=1, path="/", status=200)
    lines = [line.format(ip="93.184.216.35").replace("Oct/2026", month) for month in ("Jan/2020", "Dec/2026")]
    lines += [line.format(ip=ip) for ip in ("unknown", "host.example", "-", "1.2.3.4.5")]
    row = {"client_ip": "8.8.8.8", "request": {"method": "GET", "uri": "/"}, "response": {"status": 200}}
    lines += [json.dumps({**row, "started_at": at}) for at in (1e999, -1e999, -5, 1e30, "now", None)]
    file = tmp_path / "access.log"
    file.write_text("\n".join([*lines, ""]))
    started = time.process_time()
    told = abuse_replay.replay_log(file)
    assert time.process_time() - started < 5
    assert (told["requests"], told["unreadable"], told["refused"]) == (2, 10, 0)


def test_kongs_own_log_is_read() -> None:
    row = {
        "client_ip": "93.184.216.34",
        "started_at": 1_700_000_000_123,
        "request": {"method": "GET", "uri": "//a/./b?x", "headers": {"user-agent": "curl/8"}},
        "response": {"status": 404},
    }
    found, bad = abuse_logs.read([json.dumps(row), "{}", '{"request": 1}'])
    assert bad == 2
    assert found[0] == abuse_traffic.Request(0.0, "93.184.216.34", "GET", "/a/b", 404, "curl/8")


MILLION = pytest.param(1_000_000, marks=[pytest.mark.chaos, pytest.mark.timeout(600)])


@pytest.mark.parametrize("count", [6_000, MILLION])
def test_a_flood_of_different_keys_stays_in_its_memory(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    if count < 100_000:
        made = abuse_run.Replay.__init__

        def small(self: abuse_run.Replay, config: dict[str, Any] | None = None) -> None:
            made(self, config)
            self.analyst.buckets._limit = 3_000

        monkeypatch.setattr(abuse_run.Replay, "__init__", small)
        monkeypatch.setattr(abuse_replay, "WARM_UP", 1_000)
    found = abuse_replay.flood(count)
    assert found["buckets"] <= (3_000 if count < 100_000 else 50_000)
    assert found["evicted"] > 0
    assert found["rss_growth_mb"] < 100
    if count >= 100_000:
        assert found["decision_p99_us"] < 50, "processor time, without what other work took"


@pytest.mark.parametrize(
    ("line", "path", "user", "agent"),
    [
        ('1.2.3.4 - - [23/Nov/2026:10:00:00 +0000] "GET /a/%2e%2e/b?c HTTP/1.1" 200 1 "-" "-"', "/b", "", ""),
        ('1.2.3.4 - - [23/Nov/2026:10:00:00 +0000] "GET / HTTP/2.0" 304 0', "/", "", ""),
        (
            r'::1 - john doe [23/Nov/2026:10:00:00 +0000] "GET /a HTTP/1.1" 401 - "https://x/\"q\"" "a \"b\" c"',
            "/a",
            "john doe",
            'a "b" c',
        ),
        (  # what Kong 3.9 writes by default
            '1.2.3.4 - - [23/Nov/2026:10:00:00 +0000] "GET /a HTTP/1.1" 404 0 "-" "x" kong_request_id: "a1b2"',
            "/a",
            "",
            "x",
        ),
        (
            '1.2.3.4 - - [23/Nov/2026:10:00:00 +0000] "GET http://x.example/a HTTP/1.1" 404 0 "-" "x"',
            "/a",
            "",
            "x",
        ),
    ],
)
def test_lines_of_the_combined_format(line: str, path: str, user: str, agent: str) -> None:
    (found,), bad = abuse_logs.read([line])
    assert (found.path, found.user, found.agent, bad) == (path, user, agent, 0)


@pytest.mark.parametrize(
    "line",
    [
        "garbage",
        "[1]",
        "{}",
        r'1.2.3.4 - - [23/Nov/2026:10:00:00 +0000] "\x16\x03" 400 0 "-" "-"',
        "[" * 100_000,
        '{"a":' * 100_000,
    ],
    ids=range(6),
)
def test_a_line_that_is_none_is_counted(line: str) -> None:
    assert abuse_logs.read([line]) == ([], 1)


def test_a_repeated_header_is_a_list_in_kongs_log() -> None:
    row = {
        "client_ip": "203.0.113.9", "started_at": 1795464777455, "response": {"status": 404},
        "request": {"method": "GET", "uri": "/x", "headers": {"user-agent": ["a", "b"]}},
    }  # fmt: skip
    (found,), _ = abuse_logs.read([json.dumps(row)])
    assert found.agent == "a, b"
