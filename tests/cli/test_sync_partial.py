"""A sync that ends half done: exit code 5, and a list of what is left, in each mode."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from cli import exit_codes, sync_run
from cli.main import main
from tests.cli.test_sync_modes import Clock
from tests.decl.admin_stub import AdminStub, Answer, Seen, admin_stub
from tests.decl.db_node import DbNode, FaultProxy, db_node, fault_proxy


@pytest.fixture(autouse=True)
def folder(own_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KGATE_DEBUG", "1")
    return own_folder


def project(cluster: dict[str, object], path: str = "/cart", **changes: object) -> None:
    cart = {"name": "cart", "url": "http://cart", "routes": [{"name": "cart", "paths": [path]}]}
    text = {"_format_version": "3.0", "clusters": {"one": cluster}, "services": [{**cart, **changes}]}
    Path("gateway.yaml").write_text(json.dumps(text))


def kgate(*arguments: str, code: int = 0) -> Result:
    result = CliRunner().invoke(main, arguments, prog_name="kgate")
    assert result.exit_code == code, result.output
    return result


def report(*arguments: str, code: int = 0) -> Any:
    return json.loads(kgate(*arguments, "--output", "json", code=code).stdout)


def last_apply() -> dict[str, Any]:
    """What the history says of it."""
    found: dict[str, Any] = report("rollback", "--list")["history"][-1]
    return found


# -- DB-less -----------------------------------------------------------------------------------------------------


@pytest.fixture
def stubs() -> Iterator[list[AdminStub]]:
    with ExitStack() as stack:
        yield [stack.enter_context(admin_stub()) for _ in range(3)]


@pytest.fixture
def synced(stubs: list[AdminStub]) -> list[bytes]:
    """The bytes that all nodes have; the file says others by now."""
    project({"nodes": [stub.url for stub in stubs]})
    kgate("sync", "--yes")
    old = [stub.posts[-1].body for stub in stubs]
    project({"nodes": [stub.url for stub in stubs]}, "/basket")
    return old


def but(old: bytes, refused: Answer) -> Callable[[Seen], Answer | None]:
    """All is taken but the old bytes."""
    return lambda seen: refused if seen.body == old else None


def no(_: Seen) -> Answer:
    return Answer(400, {"message": "no"})


@pytest.mark.parametrize("strategy", ["rolling", "canary", "all-at-once"])
def test_a_node_that_cannot_go_back_is_told(
    stubs: list[AdminStub], synced: list[bytes], strategy: str
) -> None:
    stubs[0].on_post = but(synced[0], Answer(403, {}))
    stubs[1].on_post = no
    arguments = ("sync", "--yes", "--strategy", strategy)
    last = "not tried" if strategy == "rolling" else "returned"
    found = report(*arguments, code=exit_codes.PARTIAL)
    assert found["result"] == "partial"
    assert [(node["node"], node["state"]) for node in found["nodes"]] == [
        (stubs[0].url, "changed"), (stubs[1].url, "failed"), (stubs[2].url, last)
    ]  # fmt: skip
    assert "its old config could not be brought back: refused access" in found["nodes"][0]["reason"]
    assert last_apply()["result"] == "partial"
    assert last_apply()["reason"]
    stubs[1].on_post = lambda _: None
    kgate("sync", "--yes")
    assert len({stub.hash for stub in stubs}) == 1


def test_what_is_left_in_the_lines_of_a_terminal(stubs: list[AdminStub], synced: list[bytes]) -> None:
    stubs[0].on_post = but(synced[0], Answer(403, {}))
    stubs[1].on_post = no
    lines = kgate("sync", "--yes", code=exit_codes.PARTIAL).stdout.splitlines()
    assert lines[0].startswith(
        f"{stubs[0].url}: changed: a node before it failed; its old config could not be"
    )
    assert lines[1].startswith(f"{stubs[1].url}: failed: refused the config: no")
    assert lines[2] == f"{stubs[2].url}: not tried: a node before it failed"


def test_a_node_of_which_nobody_knows(stubs: list[AdminStub], synced: list[bytes]) -> None:
    """It answers 500 to the push, and nothing of use afterwards."""
    posted: list[Seen] = []

    def answer(seen: Seen) -> Answer:
        posted.append(seen)
        return Answer(500, {"message": "broken"}, store=True)

    stubs[2].on_post = answer
    stubs[2].on_status = lambda _: Answer(404, {}) if posted else None
    found = report("sync", "--yes", "--strategy", "canary", code=exit_codes.PARTIAL)
    assert [node["state"] for node in found["nodes"]] == ["returned", "returned", "unknown"]
    assert "could not be brought back" in found["nodes"][2]["reason"]
    assert last_apply()["result"] == "partial"


# -- hybrid ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def lagging() -> Iterator[DbNode]:
    """A control plane whose data planes do not follow while a test runs."""
    settings = {"KONG_ROLE": "control_plane", "KONG_SANDBOX_DATA_PLANE_DELAY": "600s"}
    with db_node(**settings) as node:
        yield node


@pytest.fixture
def control(lagging: DbNode, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultProxy]:
    monkeypatch.setattr(sync_run, "time", Clock())
    lagging.clear()
    with fault_proxy(lagging.admin) as proxy:
        project({"mode": "hybrid", "nodes": [proxy.url], "proxy": []})
        yield proxy


def of_planes(proxy: FaultProxy, status: int, body: object) -> None:
    """What is asked of data planes after the first write (of the lock) is answered so."""
    forward = proxy.answer

    def choose(handler: BaseHTTPRequestHandler) -> None:
        if handler.path.startswith("/clustering") and proxy.writes > 1:
            proxy._send(handler, status, json.dumps(body).encode(), {})
        else:
            forward(handler)

    proxy.answer = choose  # type: ignore[method-assign]


TWO = {
    "data": [
        {"id": f"{number}" * 8, "hostname": f"dp{number}", "config_hash": digest, "last_seen": 1}
        for number, digest in enumerate(("a" * 32, "0" * 32))
    ]
}


def test_data_planes_that_do_not_follow(control: FaultProxy, lagging: DbNode) -> None:
    found = report("sync", "--yes", code=exit_codes.PARTIAL)
    late = f"after {sync_run.PLANES_WAIT:g} s not all data planes have the new config: data-plane-1 ("
    assert found["reason"].startswith(late)
    assert (found["result"], found["done"], found["left"]) == ("partial", 4, [])
    planes = found["data_planes"]
    assert len(planes) == 2
    assert set(planes.values()) == {"0" * 32}
    assert all(f"{name} has {value}" in found["reason"] for name, value in planes.items())
    assert (last_apply()["result"], last_apply()["reason"]) == ("partial", found["reason"])
    assert lagging.state()["routes"], "the control plane has it all"


def test_the_same_in_the_lines_of_a_terminal(control: FaultProxy) -> None:
    done, late = kgate("sync", "--yes", code=exit_codes.PARTIAL).stdout.splitlines()
    assert done == f"{control.url}: 4 changes made"
    assert late.startswith("after 60 s not all data planes have the new config: data-plane-1 (")


def test_one_data_plane_does_not_follow(control: FaultProxy) -> None:
    of_planes(control, 200, TWO)
    found = report("sync", "--yes", code=exit_codes.PARTIAL)
    assert found["data_planes"] == {"dp0 (00000000)": "a" * 32, "dp1 (11111111)": "0" * 32}


def test_the_next_run_does_not_forget_it(control: FaultProxy) -> None:
    """Nothing is to be written then; that planes differ is seen all the same."""
    kgate("sync", "--yes", code=exit_codes.PARTIAL)
    assert report("sync", "--yes")["result"] == "unchanged", "all tell one hash: it may be the new one"
    of_planes(control, 200, TWO)
    nothing, late = kgate("sync", "--yes", code=exit_codes.PARTIAL).stdout.splitlines()
    assert nothing == "no changes"
    assert late.endswith(f": dp0 (00000000) has {'a' * 32}, dp1 (11111111) has {'0' * 32}")


def test_a_control_plane_that_goes_away_after_the_last_write(control: FaultProxy) -> None:
    of_planes(control, 500, {"message": "broken"})
    found = report("sync", "--yes", code=exit_codes.PARTIAL)
    assert found["reason"] == "cannot tell whether the data planes follow: answered HTTP 500: broken"
    assert found["result"] == "partial"
    assert "data_planes" not in found


def test_a_node_that_is_no_control_plane_is_told_when_nothing_is_to_be_written(node: DbNode) -> None:
    cluster = {"nodes": [node.admin], "proxy": [node.proxy]}
    project({"mode": "db", **cluster})
    kgate("sync", "--yes")
    project({"mode": "hybrid", **cluster})
    found = report("sync", "--yes", code=exit_codes.FAILED)
    assert found["result"] == "failed"
    told = kgate("sync", "--yes", code=exit_codes.FAILED).stdout
    assert told == f"{node.admin}: is no control plane: {found['reason']}\n"
