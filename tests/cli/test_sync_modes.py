"""sync and diff of DB-less and hybrid clusters on real sockets."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cli import exit_codes, wait_new
from cli.main import main
from decl import probe
from decl.admin import AdminClient
from tests.decl.admin_stub import AdminStub, Answer, admin_stub
from tests.decl.db_node import db_node
from tests.decl.plugin_configs import document
from tests.decl.test_http import certificate

CART = {
    "name": "cart",
    "url": "http://cart",
    "routes": [{"name": "cart", "paths": ["/cart"]}],
    "plugins": [{"name": "cors"}],
}
CONFIG = {"_format_version": "3.0", "services": [CART]}


@pytest.fixture(autouse=True)
def folder(own_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KGATE_DEBUG", "1")
    return own_folder


def project(cluster: dict[str, object], **changes: object) -> None:
    Path("gateway.yaml").write_text(json.dumps({**CONFIG, **changes, "clusters": {"one": cluster}}))


def kgate(*arguments: str, code: int = 0) -> Result:
    result = CliRunner().invoke(main, arguments, prog_name="kgate")
    assert result.exit_code == code, result.output
    return result


def test_dbless_sync_diff_rollback() -> None:
    with db_node(KONG_DATABASE="off") as first, db_node(KONG_DATABASE="off") as second:
        nodes = [first.admin, second.admin]
        project(
            {
                "nodes": nodes,
                "proxy": [first.proxy, second.proxy],
                "gate": {"probes": ["/cart"], "status": [418]},
            }
        )
        assert kgate("diff", code=exit_codes.CHANGES_PENDING).stdout.startswith(
            f"{first.admin}, {second.admin}:\n"
        )
        failed = kgate("sync", "--yes", "--strategy", "canary", code=exit_codes.ROLLED_BACK).stdout
        assert f"{first.admin}: returned: the health gate failed" in failed
        assert f"{second.admin}: not tried" in failed
        project({"nodes": nodes})
        kgate("sync", "--yes")
        assert kgate("diff").stdout == "cluster one: no changes\n"
        assert kgate("sync", "--yes").stdout == f"{first.admin}: unchanged\n{second.admin}: unchanged\n"
        kgate("diff", "--plan-out", "plan.json")
        project({"nodes": nodes}, services=[{**CART, "retries": 1}])
        report = kgate("diff", code=exit_codes.CHANGES_PENDING).stdout
        assert "  ~ service cart  gateway.yaml:1:41  [the file changed]\n      retries: 5 -> 1\n" in report
        kgate("sync", "--yes", "--plan", "plan.json", code=exit_codes.STALE_PLAN)
        kgate("sync", "--yes", "--strategy", "all-at-once")
        kgate("rollback", "--yes")
        assert "retries: 5 -> 1" in kgate("diff", code=exit_codes.CHANGES_PENDING).stdout
        kgate("drift", code=exit_codes.DRIFT)
        kgate("drift", "--against", "applied")


def test_rollback_of_the_first_apply() -> None:
    """A node without entities tells no md5, but zeros."""
    with db_node(KONG_DATABASE="off") as node:
        project({"nodes": [node.admin]})
        kgate("sync", "--yes")
        assert kgate("rollback", "--yes").stdout == f"{node.admin}: changed\n"
        with AdminClient(node.admin) as client:
            assert client.config_hash() == "0" * 32
        assert kgate("rollback", "--yes", "--to", "2").stdout == f"{node.admin}: unchanged\n"
        kgate("sync", "--yes")
        assert kgate("diff").stdout == "cluster one: no changes\n"


def test_rollback_to_what_others_had_pushed() -> None:
    theirs = b'{"_format_version":"3.0","services":[{"name":"theirs","host":"x","tags":["2020-01-01"]}]}'
    with db_node(KONG_DATABASE="off") as node, AdminClient(node.admin) as client:
        client.post_config(theirs)
        (before,) = client.pages("/services")
        project({"nodes": [node.admin]})
        kgate("sync", "--yes", "--max-deletes", "100%")
        assert [service["name"] for service in client.pages("/services")] == ["cart"]
        assert kgate("rollback", "--yes").stdout == f"{node.admin}: changed\n"
        (after,) = client.pages("/services")
        times = ("created_at", "updated_at")
        assert {k: v for k, v in after.items() if k not in times} == {
            k: v for k, v in before.items() if k not in times
        }
        assert client.pages("/plugins") == []


def test_every_plugin_without_a_database() -> None:
    with db_node(KONG_DATABASE="off") as node:
        full = document({"cors", "key-auth", "request-termination"})
        Path("gateway.yaml").write_text(json.dumps({**full, "clusters": {"one": {"nodes": [node.admin]}}}))
        kgate("sync", "--yes")
        # the same entities from other bytes: read and compared one by one
        full["services"][0]["_comment"] = "nothing"
        full["services"][0]["retries"] = 5
        Path("gateway.yaml").write_text(json.dumps({**full, "clusters": {"one": {"nodes": [node.admin]}}}))
        assert "no changes (the same entities, from other bytes than ours)" in kgate("diff").stdout
        assert kgate("sync", "--yes").stdout == f"{node.admin}: changed\n"
        assert kgate("diff").stdout == "cluster one: no changes\n"


def test_hybrid_waits_for_the_data_planes() -> None:
    settings = {"KONG_ROLE": "control_plane", "KONG_SANDBOX_DATA_PLANE_DELAY": "300ms"}
    with db_node(**settings) as node:
        project(
            {"mode": "hybrid", "nodes": [node.admin], "proxy": []},
            services=[{"name": "plain", "url": "http://x"}],
        )
        from decl import probe

        original = probe.propagation_time
        try:
            probe.propagation_time = lambda node: 0.0  # type: ignore[assignment]
            kgate("sync", "--yes")
        finally:
            probe.propagation_time = original
        planes = json.loads(kgate("status", "--output", "json").stdout)["data_planes"]
        assert len(planes) == 2
        assert len(set(planes.values())) == 1
        assert set(planes.values()) != {"0" * 32}


def test_a_node_that_is_no_control_plane() -> None:
    with db_node() as node:
        project({"mode": "hybrid", "nodes": [node.admin]})
        assert "is no control plane" in kgate("sync", "--yes", code=exit_codes.FAILED).stdout


@pytest.fixture
def stub() -> object:
    with admin_stub() as made:
        yield made


class Clock:
    """Goes on by what is slept."""

    def __init__(self) -> None:
        self._now = 0.0

    def monotonic(self) -> float:
        return self._now

    def sleep(self, seconds: float) -> None:
        self._now += seconds


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A watch does not sleep: it looks once for each second that it is to stay."""
    monkeypatch.setattr(wait_new, "time", Clock())


@pytest.mark.usefixtures("quick")
def test_a_node_that_lost_its_volume_gets_its_config_again(stub: AdminStub) -> None:
    project({"nodes": [stub.url]})
    kgate("render", "-o", "kong.json")
    lost = threading.Event()

    def status(_: object) -> None:
        if len(stub.posts) == 1 and not lost.is_set():
            lost.set()
        elif len(stub.posts) == 1 and len(stub.seen) > 5:
            stub.hash = "0" * 32  # it was restarted without its volume

    stub.on_status = status  # type: ignore[assignment]
    kgate("sync", "--yes", "--wait-new", "--wait-for", "9")
    assert len(stub.posts) == 2
    # what a new node boots from is what is pushed, byte for byte
    assert {post.body for post in stub.posts} == {Path("kong.json").read_bytes()}


def watched(stub: AdminStub, meanwhile: Callable[[int], Answer | None]) -> None:
    """Before each look of a watch `meanwhile` is called with its number, from 1 on, and may answer it."""
    looks = itertools.count(1)

    def status(_: object) -> Answer | None:
        return meanwhile(next(looks)) if stub.posts else None

    stub.on_status = status


@pytest.mark.usefixtures("quick")
def test_a_watch_lets_others_sync_and_leaves_their_config_alone(stub: AdminStub) -> None:
    other = Path("other.yaml")

    def meanwhile(look: int) -> Answer | None:
        if look == 5:
            stub.on_status = lambda _: None
            command = [sys.executable, "-m", "cli.main", "-f", str(other), "sync", "--yes"]
            done = subprocess.run(command, capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
        return None

    project({"nodes": [stub.url]})
    other.write_text(Path("gateway.yaml").read_text().replace("/cart", "/basket"))
    watched(stub, meanwhile)
    told = kgate("sync", "--yes", "--wait-new", "--wait-for", "20", code=exit_codes.STALE_PLAN)
    assert "apply 2 by " in told.stderr
    assert "start again with its files" in told.stderr
    assert len(stub.posts) == 2
    assert b"/basket" in stub.posts[-1].body


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(("refused", "code"), [(2, exit_codes.OK), (99, exit_codes.FAILED)])
def test_a_node_that_has_just_started_may_refuse_a_few_times(
    stub: AdminStub, refused: int, code: int
) -> None:
    project({"nodes": [stub.url]})
    answers = iter([None, *[Answer(503, {"message": "starting"})] * refused])
    stub.on_post = lambda _: next(answers, None)
    watched(stub, lambda look: setattr(stub, "hash", "0" * 32) if look == 3 else None)
    kgate("sync", "--yes", "--wait-new", "--wait-for", "20", code=code)
    # each push is tried three times
    assert len(stub.posts) == 1 + (refused + 1 if refused == 2 else 3 * wait_new.FAILURES)
    assert (stub.hash != "0" * 32) == (refused == 2)


@pytest.mark.usefixtures("quick")
def test_a_watch_goes_on_when_the_node_is_away(stub: AdminStub) -> None:
    project({"nodes": [stub.url]})

    def meanwhile(look: int) -> Answer | None:
        if look == 8:
            stub.hash = "0" * 32
        return Answer(503, {}) if 3 < look < 8 else None

    watched(stub, meanwhile)
    kgate("sync", "--yes", "--wait-new", "--wait-for", "20")
    assert len(stub.posts) == 2


def test_one_node_away(stub: AdminStub) -> None:
    project({"nodes": [stub.url, "http://127.0.0.1:9"]})
    assert (
        "http://127.0.0.1:9: away: is away: Connection refused"
        in kgate("status", code=exit_codes.FAILED).stdout
    )
    stub.on_post = lambda _: Answer(400, {"message": "no"})
    kgate("sync", "--yes", code=exit_codes.FAILED)
    drift = kgate("drift", code=exit_codes.DRIFT).stdout
    assert drift.endswith("http://127.0.0.1:9: away: is away: Connection refused\n")


def test_a_plain_file_for_a_node_that_no_file_describes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "propagation_time", lambda node: 0.0)
    Path("kong.yaml").write_text(json.dumps(CONFIG))
    with db_node() as database, db_node(KONG_DATABASE="off") as dbless:
        for node in (database, dbless):
            kgate("sync", "-f", "kong.yaml", "--node", node.admin, "--yes")
            assert (
                kgate("diff", "-f", "kong.yaml", "--node", node.admin).stdout
                == "cluster default: no changes\n"
            )
    assert "is away" in kgate("diff", "-f", "kong.yaml", "--node", database.admin, code=1).output


def test_a_new_certificate_keeps_its_names(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """PUT of a certificate would take its SNIs away, and with them what clients see."""
    monkeypatch.setattr(probe, "propagation_time", lambda node: 0.0)
    with db_node() as node:

        def renewed(**more: object) -> None:
            pair = {"cert": (tmp_path / "a.pem").read_text(), "key": (tmp_path / "a.key").read_text()}
            shop = {"id": "0b6b5e4e-2f0e-4f3c-8a38-94dd4f2e0001", **pair, "snis": [{"name": "a"}], **more}
            project({"mode": "db", "nodes": [node.admin]}, certificates=[shop])
            kgate("sync", "--yes")
            assert kgate("diff").stdout == "cluster one: no changes\n"

        certificate(tmp_path, "a", None)
        renewed(tags=["old"])
        (sni,) = node.store.entities["snis"]
        certificate(tmp_path, "a", None)
        renewed()
        assert list(node.store.entities["snis"]) == [sni]
        (held,) = node.store.entities["certificates"].values()
        assert held["cert"] == (tmp_path / "a.pem").read_text()
        assert not held.get("tags")
