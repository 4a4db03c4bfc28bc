"""What sync refuses before it writes anything, DB-less and as a hybrid cluster (with a database: test_sync_db)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from cli import exit_codes
from cli.main import main
from decl import probe
from decl.admin import AdminClient
from decl.flatten import Flat
from decl.live import read_live
from tests.decl.db_node import DbNode, db_node

SERVICES = [
    {"name": name, "url": f"http://{name}", "routes": [{"name": name, "paths": [f"/{name}"]}]}
    for name in ("cart", "list", "menu", "order")
]
COUNT = 8 + 2
"""Entities with the adapter's two."""

ROLES = {
    "dbless": {"KONG_DATABASE": "off"},
    "hybrid": {"KONG_ROLE": "control_plane", "KONG_SANDBOX_DATA_PLANE_DELAY": "10ms"},
}


class Cluster:
    """One cluster of two nodes, or of a control plane, with a folder of files."""

    def __init__(self, mode: str, nodes: list[DbNode]) -> None:
        self.mode, self.nodes = mode, nodes

    def files(self, *services: dict[str, Any], nodes: int | None = None) -> None:
        cluster = {"mode": self.mode, "nodes": [node.admin for node in self.nodes[:nodes]]}
        document = {"_format_version": "3.0", "clusters": {"one": cluster}, "services": list(services)}
        Path("gateway.yaml").write_text(json.dumps(document))

    def kgate(self, *arguments: str, code: int = 0) -> Result:
        result = CliRunner().invoke(main, arguments, prog_name="kgate")
        assert result.exit_code == code, result.output
        return result

    def state(self) -> list[Flat]:
        """What the nodes tell over their Admin APIs."""
        found = []
        for node in self.nodes:
            with AdminClient(node.admin) as client:
                found.append(read_live(client))
        return found

    def refused(self, *arguments: str) -> str:
        """What a sync says that must write nothing."""
        before = self.state()
        result = self.kgate("sync", "--yes", *arguments, code=exit_codes.FAILED)
        assert self.state() == before
        assert result.stdout == ""
        assert result.stderr.count("\n") == 1
        return result.stderr


@pytest.fixture(scope="module")
def running() -> Iterator[dict[str, list[DbNode]]]:
    with (
        db_node(**ROLES["dbless"]) as first,
        db_node(**ROLES["dbless"]) as second,
        db_node(**ROLES["hybrid"]) as plane,
    ):
        yield {"dbless": [first, second], "hybrid": [plane]}


@pytest.fixture(params=ROLES)
def cluster(
    running: dict[str, list[DbNode]],
    own_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> Cluster:
    """With four services in force."""
    monkeypatch.setattr(probe, "propagation_time", lambda node: 0.0)
    made = Cluster(request.param, running[request.param])
    made.files(*SERVICES)
    made.kgate("sync", "--yes", "--max-deletes", "100%")
    return made


def names(state: Flat) -> list[str]:
    return sorted(service["name"] for service in state["services"].values())


def test_files_without_entities(cluster: Cluster) -> None:
    cluster.files()
    assert "would empty Kong; say --allow-empty" in cluster.refused()
    assert f"8 of {COUNT} live entities would be deleted" in cluster.refused("--allow-empty")
    cluster.kgate("sync", "--yes", "--allow-empty", "--max-deletes", "8")
    for state in cluster.state():
        assert names(state) == []
        assert {plugin["name"] for plugin in state["plugins"].values()} == {"kgate", "kgate-facts"}


def test_more_deletes_than_a_fifth(cluster: Cluster) -> None:
    cluster.files(*SERVICES[:2])
    said = cluster.refused()
    assert said.startswith(f"kgate: refused: 4 of {COUNT} live entities would be deleted (")
    assert "services menu" in said
    assert "routes order" in said
    assert said.endswith("2 are allowed; raise --max-deletes if it is meant\n")
    cluster.refused("--max-deletes", "3")
    cluster.refused("--max-deletes", "30%")
    cluster.kgate("sync", "--yes", "--max-deletes", "four", code=exit_codes.USAGE)
    cluster.kgate("sync", "--yes", "--max-deletes", "40%")
    assert [names(state) for state in cluster.state()] == [["cart", "list"]] * len(cluster.nodes)


@pytest.mark.parametrize("cluster", ["dbless"], indirect=True)
def test_a_fifth_is_no_question(cluster: Cluster) -> None:
    cluster.files(*SERVICES[:3])
    cluster.kgate("sync", "--yes")
    assert [names(state) for state in cluster.state()] == [["cart", "list", "menu"]] * len(cluster.nodes)


def test_what_is_protected(cluster: Cluster) -> None:
    kept = {**SERVICES[3], "tags": ["kgate-keep"]}
    cluster.files(*SERVICES[:3], kept)
    cluster.kgate("sync", "--yes")
    cluster.files(*SERVICES[:3])
    said = cluster.refused("--max-deletes", "100%")
    assert "service order would be deleted and has the tag kgate-keep" in said
    assert "route" not in said  # the service alone has the tag
    cluster.files(*SERVICES)  # it may lose it
    cluster.kgate("sync", "--yes")
    cluster.files(*SERVICES[:3])
    cluster.kgate("sync", "--yes")


@pytest.mark.parametrize("cluster", ["dbless"], indirect=True)
def test_a_plan_is_refused_too(cluster: Cluster) -> None:
    cluster.files(*SERVICES[:2])
    cluster.kgate("diff", "--plan-out", "plan.json", code=exit_codes.CHANGES_PENDING)
    assert "4 of 10 live entities would be deleted" in cluster.refused("--plan", "plan.json")
    cluster.kgate("sync", "--yes", "--plan", "plan.json", "--max-deletes", "4")


@pytest.mark.parametrize("cluster", ["dbless"], indirect=True)
def test_each_node_is_looked_at(cluster: Cluster) -> None:
    """One of them holds what the others do not, and what is protected."""
    mine = cluster.nodes
    cluster.nodes = mine[1:]
    cluster.files(*SERVICES, {"name": "more", "url": "http://more", "tags": ["kgate-keep"]})
    cluster.kgate("sync", "--yes")
    cluster.nodes = mine
    cluster.files(*SERVICES)
    assert "service more would be deleted and has the tag kgate-keep" in cluster.refused()
