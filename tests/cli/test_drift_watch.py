"""drift on DB-less nodes: the watch, its metrics and its exit codes."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from click.testing import CliRunner, Result

from cli import exit_codes
from cli.commands import drift
from cli.main import main
from tests.decl.admin_stub import AdminStub, Answer, admin_stub

AWAY = "http://127.0.0.1:9"


class Clock:
    """In place of the time between looks: the next of `steps` happens."""

    def __init__(self) -> None:
        self.steps: list[Callable[[], object]] = []
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.steps.pop(0)()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(drift, "time", made)
    return made


@pytest.fixture
def nodes(own_folder: Path) -> Iterator[list[AdminStub]]:
    """Two with the config of the files."""
    with ExitStack() as stack:
        stubs = [stack.enter_context(admin_stub()) for _ in range(2)]
        files(*(stub.url for stub in stubs))
        kgate("sync", "--yes")
        yield stubs


def files(*nodes: str, host: str = "a", name: str = "gateway.yaml") -> None:
    document = {
        "_format_version": "3.0",
        "clusters": {"one": {"nodes": nodes}},
        "services": [{"name": "a", "url": f"http://{host}"}],
    }
    Path(name).write_text(json.dumps(document))


def kgate(*arguments: str, code: int = 0) -> Result:
    result = CliRunner().invoke(main, arguments, prog_name="kgate")
    assert result.exit_code == code, result.output
    return result


def metrics() -> dict[str, str]:
    """Of the textfile: name and labels -> value; every metric has its HELP and TYPE before it."""
    lines = Path("kgate.prom").read_text().splitlines()
    found = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    for name in found:
        at = next(number for number, line in enumerate(lines) if line.startswith(name))
        bare = name.partition("{")[0]
        assert lines[at - 2].startswith(f"# HELP {bare} ")
        assert lines[at - 1] == f"# TYPE {bare} gauge"
    return found


def expected(drifted: int, away: int) -> dict[str, str]:
    return {
        'kgate_drift{cluster="one"}': str(int(bool(drifted))),
        'kgate_drift_nodes{cluster="one"}': str(drifted),
        'kgate_drift_nodes_away{cluster="one"}': str(away),
    }


@pytest.mark.parametrize(
    ("other", "away", "code"),
    [
        (0, False, exit_codes.OK),
        (1, False, exit_codes.DRIFT),
        (2, False, exit_codes.DRIFT),
        (0, True, exit_codes.FAILED),
        (1, True, exit_codes.DRIFT),
    ],
)
def test_one_look(nodes: list[AdminStub], other: int, away: bool, code: int) -> None:
    files(*(stub.url for stub in nodes), *([AWAY] if away else []))
    for stub in nodes[:other]:
        stub.hash = "f" * 32
    before = [len(stub.seen) for stub in nodes]
    told = kgate("drift", "--metrics-file", "kgate.prom", code=code).stdout
    lines = [f"{stub.url}: drift" for stub in nodes[:other]]
    lines += [f"{AWAY}: away: is away: Connection refused"] if away else []
    assert told.splitlines() == (lines or ["cluster one: no drift"])
    assert metrics() == expected(other, int(away))
    # one small request a node
    asked = [stub.seen[count:] for stub, count in zip(nodes, before, strict=True)]
    assert [[(seen.method, seen.path) for seen in each] for each in asked] == [[("GET", "/status")]] * 2
    found = json.loads(kgate("drift", "--output", "json", code=code).stdout)
    assert found == {
        "version": 1,
        "cluster": "one",
        "drift": bool(other),
        "drifted": [stub.url for stub in nodes[:other]],
        "away": [AWAY] if away else [],
        "reasons": {AWAY: "is away: Connection refused"} if away else {},
        "changes": other,
    }


def test_a_watch_tells_each_look_and_ends_with_the_last(nodes: list[AdminStub], clock: Clock) -> None:
    seen: list[dict[str, str]] = []

    def lose() -> None:
        seen.append(metrics())
        nodes[1].hash = "0" * 32

    def away() -> None:
        seen.append(metrics())
        nodes[1].on_status = lambda _: Answer(500, "")

    clock.steps = [lose, away]
    arguments = ("drift", "--watch", "7", "--count", "3", "--metrics-file", "kgate.prom")
    told = kgate(*arguments, code=exit_codes.FAILED).stdout
    assert told.splitlines()[:2] == ["cluster one: no drift", f"{nodes[1].url}: drift"]
    assert told.splitlines()[2].startswith(f"{nodes[1].url}: away: answered HTTP 500")
    assert [*seen, metrics()] == [expected(0, 0), expected(1, 0), expected(0, 1)]
    assert clock.slept == [7, 7]
    assert len([path for path in Path().iterdir() if "prom" in path.name]) == 1


def test_a_watch_that_is_stopped(nodes: list[AdminStub], clock: Clock) -> None:
    def stop() -> None:
        raise KeyboardInterrupt

    clock.steps = [lambda: setattr(nodes[0], "hash", "0" * 32), stop]
    kgate("drift", "--watch", "1", code=exit_codes.DRIFT)


def test_a_watch_follows_what_is_applied(nodes: list[AdminStub], clock: Clock) -> None:
    """Others sync newer files: their nodes are as they should be, and those that lose that are not."""
    files(*(stub.url for stub in nodes), host="b", name="newer.yaml")
    clock.steps = [
        lambda: kgate("-f", "newer.yaml", "sync", "--yes"),
        lambda: setattr(nodes[0], "hash", "0" * 32),
    ]
    arguments = ("drift", "--watch", "1", "--count", "3", "--output", "json")
    told = kgate(*arguments, "--against", "applied", code=exit_codes.DRIFT).stdout
    looks = [json.loads(line)["drifted"] for line in told.splitlines()]
    assert looks == [[], [], [nodes[0].url]]
    clock.steps = [lambda: None]
    kgate("drift", "--watch", "1", "--count", "2", code=exit_codes.DRIFT)  # the files are what they were


def test_a_watch_finds_nodes_that_come(
    nodes: list[AdminStub], clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, known = socket.getaddrinfo, ["127.0.0.1"]

    def look_up(host: Any, *args: Any, **options: Any) -> Any:
        if host != "kong.internal":
            return real(host, *args, **options)
        if not known:
            raise socket.gaierror(-2, "Name or service not known")
        return [info for address in known for info in real(address, *args, **options)]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    named = f"dns+http://kong.internal:{urlsplit(nodes[0].url).port}"
    clock.steps = [lambda: known.append("127.0.0.2"), known.clear]
    arguments = ("drift", "--node", named, "--watch", "1", "--count", "3", "--output", "json")
    told = kgate(*arguments, code=exit_codes.FAILED).stdout
    away = [json.loads(line)["away"] for line in told.splitlines()]
    # a name without an address leaves the nodes as they were
    assert [len(each) for each in away] == [0, 1, 1]
    assert "127.0.0.2" in away[1][0]


def test_without_a_history_there_is_nothing_to_hold_against(nodes: list[AdminStub], tmp_path: Path) -> None:
    told = kgate("drift", "--against", "applied", "--history", "none", code=exit_codes.FAILED).stderr
    assert "nothing was applied from here" in told
    assert "use --against files" in told
