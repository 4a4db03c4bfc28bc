"""DB-less nodes: what of them is read, which side moved, and plans, on real sockets."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from cli import exit_codes
from cli.main import main
from decl.admin import AdminClient
from decl.apply import EMPTY_CONFIG
from decl.kinds import KINDS
from tests.decl.db_node import FaultProxy, db_node, fault_proxy

CART = {"name": "cart", "url": "http://cart", "routes": [{"name": "cart", "paths": ["/cart"]}]}
OTHER = b'{"_format_version":"3.0","services":[{"name":"theirs","host":"x"}]}'
LISTS = {f"/{kind.path}?size=1000" for kind in KINDS.values() if kind.path}


class Node:
    """A DB-less Kong, and before its Admin API what notes requests."""

    def __init__(self, proxy: FaultProxy, client: AdminClient) -> None:
        self.proxy, self._client, self.url = proxy, client, proxy.url

    def begin(self, content: bytes | None = None) -> None:
        """Note from here on; others push that before."""
        if content is not None:
            self._client.post_config(content)
        self.proxy.begin()

    @property
    def reads(self) -> list[str]:
        return self.proxy.reads

    @property
    def held(self) -> str:
        """The hash of its config."""
        return self._client.config_hash()

    def services(self) -> dict[str, Any]:
        return {service["name"]: service for service in self._client.pages("/services")}


@pytest.fixture(scope="module")
def running() -> Iterator[list[Node]]:
    with ExitStack() as stack:
        kongs = [stack.enter_context(db_node(KONG_DATABASE="off")) for _ in range(3)]
        yield [
            Node(stack.enter_context(fault_proxy(kong.admin)), stack.enter_context(AdminClient(kong.admin)))
            for kong in kongs
        ]


@pytest.fixture
def nodes(running: list[Node], own_folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[Node]:
    monkeypatch.setenv("KGATE_DEBUG", "1")
    for node in running:
        node.begin(EMPTY_CONFIG)
    project(running)
    return running


def project(nodes: list[Node], **changes: object) -> None:
    cluster = {"nodes": [node.url for node in nodes]}
    text = {"_format_version": "3.0", "clusters": {"one": cluster}, "services": [{**CART, **changes}]}
    Path("gateway.yaml").write_text(json.dumps(text))


def kgate(*arguments: str, code: int = 0) -> Result:
    result = CliRunner().invoke(main, arguments, prog_name="kgate")
    assert result.exit_code == code, result.output
    return result


def changed_by_others(node: Node, **fields: object) -> None:
    """What was rendered last, with other fields of its service, is pushed by others."""
    content = json.loads(Path("kong.json").read_text())
    content["services"][0].update(fields)
    node.begin(json.dumps(content).encode())


# -- what is read ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", [("diff",), ("sync", "--yes"), ("drift",)], ids=lambda it: it[0])
def test_of_a_node_with_the_same_hash_its_status_alone_is_read(
    nodes: list[Node], command: tuple[str, ...]
) -> None:
    kgate("sync", "--yes")
    for node in nodes:
        node.begin()
    kgate(*command)
    assert [node.reads for node in nodes] == [["/status"]] * 3
    assert [node.proxy.log for node in nodes] == [[]] * 3


def test_entities_are_read_where_the_hash_differs(nodes: list[Node]) -> None:
    kgate("sync", "--yes")
    for node, content in zip(nodes, (None, OTHER, None), strict=True):
        node.begin(content)
    shown = kgate("diff", code=exit_codes.CHANGES_PENDING).stdout
    assert shown.startswith(f"{nodes[1].url}:\n")
    assert "  - service theirs" in shown
    assert [nodes[0].reads, nodes[2].reads] == [["/status"]] * 2
    assert set(nodes[1].reads) >= {"/status"} | LISTS
    assert len([path for path in nodes[1].reads if path in LISTS]) == len(LISTS), "each list once"


def test_of_nodes_with_the_same_other_hash_one_is_read(nodes: list[Node]) -> None:
    kgate("sync", "--yes")
    for node, content in zip(nodes, (OTHER, OTHER, None), strict=True):
        node.begin(content)
    shown = kgate("diff", code=exit_codes.CHANGES_PENDING).stdout
    assert shown.startswith(f"{nodes[0].url}, {nodes[1].url}:\n")
    assert set(nodes[0].reads) >= LISTS
    assert [nodes[1].reads, nodes[2].reads] == [["/status"]] * 2


def test_a_sync_posts_where_the_hash_differs(nodes: list[Node]) -> None:
    kgate("sync", "--yes")
    for node, content in zip(nodes, (None, OTHER, None), strict=True):
        node.begin(content)
    told = kgate("sync", "--yes", "--max-deletes", "100%").stdout
    assert told == f"{nodes[0].url}: unchanged\n{nodes[1].url}: changed\n{nodes[2].url}: unchanged\n"
    assert [len(node.proxy.log) for node in nodes] == [0, 1, 0]
    assert {*nodes[0].reads, *nodes[2].reads} == {"/status"}
    assert len({node.held for node in nodes}) == 1


# -- which side moved --------------------------------------------------------------------------------------------


def test_which_side_moved(nodes: list[Node]) -> None:
    kgate("sync", "--yes")
    kgate("render", "-o", "kong.json")
    changed_by_others(nodes[0], retries=1)
    live = kgate("diff", code=exit_codes.CHANGES_PENDING).stdout
    assert "[the live Kong changed]\n      retries: 1 -> 5\n" in live
    project(nodes, retries=2)
    report = json.loads(kgate("diff", "--output", "json", code=exit_codes.CHANGES_PENDING).stdout)
    moved = {
        tuple(group["nodes"]): [change["moved"] for change in group["changes"]] for group in report["nodes"]
    }
    assert moved == {(nodes[0].url,): ["both"], (nodes[1].url, nodes[2].url): ["file"]}
    shown = kgate("diff", code=exit_codes.CHANGES_PENDING).stdout
    assert "[both sides changed]\n      retries: 1 -> 2\n" in shown
    assert "[the file changed]\n      retries: 5 -> 2\n" in shown


# -- plans -------------------------------------------------------------------------------------------------------


def plan(code: int = exit_codes.CHANGES_PENDING) -> None:
    kgate("diff", "--plan-out", "plan.json", code=code)


def apply_plan(code: int = 0) -> Result:
    return kgate("sync", "--plan", "plan.json", "--yes", code=code)


def test_a_plan_is_applied(nodes: list[Node]) -> None:
    plan()
    assert apply_plan().stdout == "".join(f"{node.url}: changed\n" for node in nodes)
    project(nodes, retries=1)
    plan()
    apply_plan()
    assert [node.services()["cart"]["retries"] for node in nodes] == [1] * 3
    assert kgate("diff").stdout == "cluster one: no changes\n"


@pytest.mark.parametrize("number", range(3))
def test_a_plan_is_stale_when_one_node_has_another_config(nodes: list[Node], number: int) -> None:
    kgate("sync", "--yes")
    kgate("render", "-o", "kong.json")
    project(nodes, retries=1)
    plan()
    for node in nodes:
        node.begin()
    changed_by_others(nodes[number], retries=3)
    stale = apply_plan(exit_codes.STALE_PLAN).stderr
    assert f"stale plan: the live state has changed since the plan was made: {nodes[number].url};" in stale
    assert "make it again with kgate diff --plan-out" in stale
    assert [node.proxy.log for node in nodes] == [[]] * 3, "nothing was pushed"
    plan()
    apply_plan()
    assert [node.services()["cart"]["retries"] for node in nodes] == [1] * 3


def test_a_plan_is_applied_once(nodes: list[Node]) -> None:
    plan()
    apply_plan()
    stale = apply_plan(exit_codes.STALE_PLAN).stderr
    assert all(node.url in stale for node in nodes)


def test_a_plan_is_stale_when_a_node_came_or_went(nodes: list[Node]) -> None:
    project(nodes[:2])
    plan()
    project(nodes)
    assert nodes[2].url in apply_plan(exit_codes.STALE_PLAN).stderr
    project(nodes[:1])
    assert nodes[1].url in apply_plan(exit_codes.STALE_PLAN).stderr
    assert [node.proxy.log for node in nodes] == [[]] * 3
