"""Overlays: what is merged, and where each value is said to stand."""

import pytest

from decl.load import Text, load
from decl.source import Sources

BASE = """_format_version: "3.0"
defaults: &common {retries: 1, port: 80}
services:
- {name: a, <<: *common, routes: [{name: r, paths: [/a, /b]}]}
- {name: b, <<: *common}
consumers: [{username: u, acls: [{group: g}]}]
upstreams: [{name: up, targets: [{target: "a:1", weight: 1}]}]
clusters: {main: {nodes: ["http://a"], admin: {timeout: 5}}}
"""


def merged(over: str) -> tuple[dict, Sources]:
    loaded = load([Text("base.yaml", BASE.encode()), Text("over.yaml", over.encode(), overlay=True)])
    assert not loaded.findings
    return loaded.document, loaded.sources


@pytest.mark.parametrize(
    ("over", "path", "value"),
    [
        ("services: [{name: a, port: 81}]", "services.0.port", 81),
        ("services: [{name: a, port: 81}]", "services.1.port", 80),
        ("services: [{name: a, retries: null}]", "services.0.retries", None),
        ("services: [{name: a, routes: [{name: r, paths: [/c]}]}]", "services.0.routes.0.paths", ["/c"]),
        ("services: [{name: a, routes: [{name: s, paths: [/s]}]}]", "services.0.routes.1.name", "s"),
        ("services: [{name: c, host: x, tags: null}]", "services.2", {"name": "c", "host": "x"}),
        (
            "consumers: [{username: u, acls: [{group: h}]}]",
            "consumers.0.acls",
            [{"group": "g"}, {"group": "h"}],
        ),
        ('upstreams: [{name: up, targets: [{target: "a:1", weight: 9}]}]', "upstreams.0.targets.0.weight", 9),
        ("clusters: {main: {nodes: [http://b]}}", "clusters.main.admin.timeout", 5),
        ("clusters: {main: {nodes: [http://b]}}", "clusters.main.nodes", ["http://b"]),
        ("plugins: [{name: p, config: {a: null}}]", "plugins.0.config", {"a": None}),
    ],
)
def test_merging(over: str, path: str, value: object) -> None:
    found: object = merged(over)[0]
    for step in path.split("."):
        if isinstance(found, list):
            found = found[int(step)]
        else:
            assert isinstance(found, dict)
            found = found.get(step)
    assert found == value


def test_a_plugin_is_known_by_name_and_scope() -> None:
    over = "plugins: [{name: p, service: a, config: {x: 1}}, {name: p, config: {x: 2}}]"
    base = "plugins: [{name: p, config: {x: 0, y: 0}}, {name: p, service: {name: a}, config: {y: 1}}]\n"
    loaded = load([Text("b", base.encode()), Text("o", over.encode(), overlay=True)])
    configs = [plugin["config"] for plugin in loaded.document["plugins"]]
    assert configs == [{"x": 2, "y": 0}, {"x": 1, "y": 1}]


@pytest.mark.parametrize(
    ("path", "place"),
    [
        (("services", 0, "port"), "over.yaml:2:19"),
        (("services", 0, "retries"), "base.yaml:2:29"),
        (("services", 0, "routes", 0, "paths", 1), "base.yaml:4:57"),
        (("services", 0, "routes", 1, "name"), "over.yaml:3:20"),
        (("services", 1, "port"), "base.yaml:2:38"),
        (("services", 2, "host"), "over.yaml:4:19"),
        (("clusters", "main", "nodes", 0), "over.yaml:5:27"),
        (("clusters", "main", "admin", "timeout"), "base.yaml:8:57"),
    ],
)
def test_places(path: tuple[str | int, ...], place: str) -> None:
    over = (
        "services:\n- {name: a, port: 81,\n   routes: [{name: s, paths: [/s]}]}\n- {name: c, host: x}\n"
        "clusters: {main: {nodes: [http://b]}}\n"
    )
    assert str(merged(over)[1].place(path)) == place


def test_two_overlays_the_later_one_wins() -> None:
    texts = [Text("b", b"services: [{name: a, port: 1}]")]
    texts += [Text(f"o{n}", f"services: [{{name: a, port: {n}}}]".encode(), True) for n in (2, 3)]
    loaded = load(texts)
    assert loaded.document["services"][0]["port"] == 3
    assert loaded.sources.place(("services", 0, "port")).file == "o3"
