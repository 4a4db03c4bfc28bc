"""Which proxy is a node's own."""

from __future__ import annotations

from typing import Any

import pytest

from cli.target import Target
from decl.model import Cluster
from decl.nodes import NodeUrl


def target(nodes: list[str], proxy: list[str], asked: list[str] | None = None) -> Target:
    settings = Cluster(name="one", path=("clusters", "one"), nodes=tuple(nodes), proxy=tuple(proxy))
    nothing: Any = None
    urls = tuple(NodeUrl(url) for url in (nodes if asked is None else asked))
    return Target("one", settings, urls, nothing, nothing)


@pytest.mark.parametrize(
    ("nodes", "proxy", "found"),
    [
        (
            ["http://a", "http://b"],
            ["http://p", "http://q"],
            {"http://a": "http://p", "http://b": "http://q"},
        ),
        (["http://a"], ["http://p"], {"http://a": "http://p"}),
        # one before all answers for any of them
        (["http://a", "http://b"], ["http://p"], {}),
        (["http://a"], ["http://p", "http://q"], {}),
        (["http://a"], [], {}),
        ([], [], {}),
        # the same node twice is one
        (["http://a", "http://a/"], ["http://p"], {"http://a": "http://p"}),
        (["http://a"], ["dns+http://nobody.invalid:80"], {}),
    ],
)
def test_own_proxies(nodes: list[str], proxy: list[str], found: dict[str, str]) -> None:
    assert target(nodes, proxy).own_proxies() == found


def test_a_part_of_the_nodes_is_asked_for() -> None:
    """A watch pushes to those that lost their config: of three behind one proxy, one."""
    assert target(["http://a", "http://b", "http://c"], ["http://p"], ["http://b"]).own_proxies() == {}
    two = target(["http://a", "http://b"], ["http://p", "http://q"], ["http://b"])
    assert two.own_proxies()["http://b"] == "http://q"
